"""Mistakes in `[http]` are told before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config


@pytest.fixture
def station(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("secret\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "schlüssel").write_text("schlüssel\n")
    return tmp_path / "station.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'port = 8484\naddress = "0.0.0.0"',
            r"station\.toml:3: `http\.address` 0\.0\.0\.0: anybody .* `http\.key_file`",
        ),
        ('port = 8484\naddress = "station.local"\nkey = ""', "`http.address`"),
        ('port = 8484\nkey = "a"\nkey_file = "key"', "are both given"),
        ('port = 8484\nkey_file = "missing"', r"`http\.key_file`: .*missing: No such file"),
        ('port = 8484\nkey_file = "empty"', "must hold the key alone"),
        ('port = 8484\nkey_file = "schlüssel"', "other characters than ASCII"),
        ('port = 8484\nkey = "schlüssel"', "other characters than ASCII"),
        ("port = 8484\n[metrics]\nport = 8484", r"is `metrics\.port` too"),
        ("port = 70000", r"`http\.port`"),
        ("port = 8484\ntls = true", r"unknown key `http\.tls`"),
    ],
)
def test_a_mistake_is_named(station: Path, text: str, said: str) -> None:
    station.write_text(f"[http]\n{text}\n")
    with pytest.raises(ConfigError, match=said) as refused:
        load_config(station, {})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ['address = "0.0.0.0"\nkey_file = "key"', 'address = "::1"', 'address = "localhost"', ""]
)
def test_what_is_right_is_taken(station: Path, text: str) -> None:
    station.write_text(f"[http]\nport = 8484\n{text}\n")
    assert load_config(station, {}).http.port == 8484


def test_the_key_may_come_from_the_environment_and_is_not_shown(station: Path) -> None:
    station.write_text('[http]\nport = 8484\naddress = "0.0.0.0"\n')
    config = load_config(station, {"LINESIDE_HTTP__KEY": "hunter2"})
    assert config.http.key.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(config)
