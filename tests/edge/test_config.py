from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.config import load_config
from lineside.edge.errors import ConfigError
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.conftest import ROOT

STATIONS = sorted((ROOT / "deploy/stations").glob("*/station.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "station.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", STATIONS, ids=lambda path: path.parent.name)
def test_example_stations_load(path: Path) -> None:
    config = load_config(path, {})
    assert config.base_topic == f"lineside/{path.parent.name}"
    assert config.bundle_path == DEFAULT_BUNDLE


def test_an_empty_file_is_a_station(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, ""), {}).mqtt.port == 1883


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mqtt]\nhots = 'x'", "unknown key `mqtt.hots`"),
        ("colour = 1", "unknown key `colour`"),
        ("folder = '/'", "unknown key `folder`"),
        ("[cameras.a]\nkind = 'folder'\nspeed = 3", r"unknown key `cameras\.a\.speed`"),
        ("[cameras.a]\nkind = 'webcam'", r"`cameras\.a\.kind`"),
        ("[cameras.a]", r"`cameras\.a\.kind`"),
        ("[cameras.'a/b']\nkind = 'mqtt'", "letters, digits"),
        ("[mqtt]\nport = 99999", r"`mqtt\.port`"),
        ("[inspect]\npass_below = 0.9", "pass_below"),
        ("[inspect]\ndefect_types = []", "defect_types"),
        ("[station]\nbase_topic = 'a/#'", "base_topic"),
        ("[station\n", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text), {})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml", {})


def test_environment_replaces_single_values(tmp_path: Path) -> None:
    variables = {"LINESIDE_MQTT__HOST": "broker.local", "LINESIDE_MQTT__PORT": "8883", "LINESIDE_OTHER": "ignored"}
    config = load_config(write(tmp_path, "[mqtt]\nhost = 'a'\nusername = 'u'"), variables)
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.username) == ("broker.local", 8883, "u")
    with pytest.raises(ConfigError, match=r"unknown key `mqtt\.prot`"):
        load_config(write(tmp_path, ""), {"LINESIDE_MQTT__PROT": "1"})


def test_secrets_do_not_show(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[mqtt]\npassword = 'hunter2'"), {})
    assert "hunter2" not in repr(config)
    assert config.mqtt.password.get_secret_value() == "hunter2"
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "[mqtt]\npassword = 5\nhost = ['hunter2']"), {})
    assert "hunter2" not in str(caught.value)
