"""How `[mqtt]` says who the station is, and which broker it speaks to: mistakes are told before it connects."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from lineside.edge.address import is_loopback, parse_address, show_address
from lineside.edge.broker_access import read_password, tls_context, warnings_of
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.station_file import load_config
from tests.conftest import ROOT


def load(folder: Path, text: str, **variables: str) -> Config:
    path = folder / "station.toml"
    path.write_text(f"[mqtt]\n{text}")
    return load_config(path, variables)


def problem(folder: Path, text: str, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **variables)
    return str(caught.value).removeprefix(f"{folder}/station.toml")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for arguments in (("broker", "localhost"), ("client", "press4")):
        script = ROOT / "deploy/mosquitto/make-certificates.sh"
        subprocess.run(["sh", script, folder, *arguments], check=True, capture_output=True)
    key, locked = folder / "press4.key", folder / "locked.key"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes128", "-passout", "pass:x", "-out", locked], check=True)
    (folder / "none.pem").write_text("no certificate")
    return folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host = 'plant'", ":2: `mqtt.host`: the station would speak to plant without saying who it is"),
        ("fallback_hosts = ['localhost:1884', '10.0.0.2']", ":2: `mqtt.fallback_hosts`: the station would speak to 10"),
        ("fallback_hosts = ['mqtt://b']", ":2: `mqtt.fallback_hosts` 'mqtt://b' is not a name or an address"),
        ("fallback_hosts = ['b:70000']", ":2: `mqtt.fallback_hosts` 'b:70000' is not a name or an address"),
        ("port = 1884\nfallback_hosts = ['localhost']", ":3: `mqtt.fallback_hosts` 'localhost' is there already"),
        ("transport = 'quic'", ':2: `mqtt.transport` is "quic", and "tcp" or "websockets" belongs there'),
        ("websocket_path = '/ws'", ":2: `mqtt.websocket_path` is of no use without"),
        ("transport = 'websockets'\nwebsocket_path = 'ws'", ":3: `mqtt.websocket_path` 'ws' is not a path"),
        ("password = 'x'", ":2: `mqtt.password` without `mqtt.username`"),
        ("username = 'a'\npassword_file = 'none'", ":3: `mqtt.password_file`: {folder}/none is not a file"),
        ("username = 'a'\npassword_file = 'station.toml'", ":3: `mqtt.password_file`: {folder}/station.toml must hold"),
        ("cert_file = 'station.toml'\nkey_file = 'station.toml'", ":2: `mqtt.cert_file` without `mqtt.tls = true`"),
        ("tls = true\ncert_file = 'station.toml'", ":3: `mqtt.cert_file` without `mqtt.key_file`"),
        ("tls = true\nkey_file = 'station.toml'", ":3: `mqtt.key_file` without `mqtt.cert_file`"),
        ("tls = true\nca_file = 'station.toml'", ":3: `mqtt.ca_file`: {folder}/station.toml: is it PEM?"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    assert problem(tmp_path, text).startswith(message.format(folder=tmp_path)), problem(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "host = '127.0.0.7'\nfallback_hosts = ['[::1]:1884', 'LOCALHOST.']",
        "host = 'plant'\nallow_anonymous = true",
        "host = 'plant'\nusername = 'press4'\nfallback_hosts = ['plant-2:8883']",
    ],
)
def test_what_is_right_passes(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)


def test_two_passwords_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("in the file")
    text = "username = 'a'\npassword_file = 'password'\n"
    both = "`mqtt.password` and `mqtt.password_file` are both given"
    assert problem(tmp_path, text + "password = 'x'").startswith(f":4: {both}")
    assert problem(tmp_path, text, LINESIDE_MQTT__PASSWORD="x").startswith(f"LINESIDE_MQTT__PASSWORD: {both}")


def test_files_are_looked_for_beside_the_station_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    access = load(tmp_path, "username = 'a'\npassword_file = 'password'").broker_access
    assert read_password(access) == "x"


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b" a b \n", " a b "),
        (b"\xc3\xa4", "ä"),
    ],
)
def test_the_password_is_the_file_without_its_line_break(tmp_path: Path, content: bytes, password: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    assert read_password(MqttConfig(username="a", password_file=str(path))) == password


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff"])
def test_a_file_that_is_no_password_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"`mqtt\.password_file`"):
        read_password(MqttConfig(username="a", password_file=str(path)))


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("press4.crt", "broker.key", "the key is not that of the certificate"),
        ("press4.crt", "locked.key", "`mqtt.key_file`: .*locked.key has a passphrase"),
        ("none.pem", "press4.key", "`mqtt.cert_file`: .*is it PEM?"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(certificates: Path, cert: str, key: str, message: str) -> None:
    config = MqttConfig(tls=True, cert_file=str(certificates / cert), key_file=str(certificates / key))
    with pytest.raises(ConfigError, match=message):
        tls_context(config)


def test_what_gives_secrets_away_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("x")
    path.chmod(stat.S_IRUSR | stat.S_IROTH)
    far = MqttConfig(host="plant", username="a", password_file=str(path))
    readable, clear = warnings_of(far)
    assert readable == f"`mqtt.password_file`: every user of this machine can read {path}: chmod o-r {path}"
    assert clear.startswith("`mqtt.host`: the password goes to plant in the clear")
    path.chmod(stat.S_IRUSR)
    assert list(warnings_of(MqttConfig(host="plant", username="a", password_file=str(path), tls=True))) == []
    assert list(warnings_of(MqttConfig(username="a", password_file=str(path)))) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("plant", ("plant", 1883)),
        ("plant:1884", ("plant", 1884)),
        ("10.0.0.2:1884", ("10.0.0.2", 1884)),
        ("::1", ("::1", 1883)),
        ("[::1]", ("::1", 1883)),
        ("[::1]:1884", ("::1", 1884)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, 1883) == address
    assert parse_address(show_address(*address), 1) == address


@pytest.mark.parametrize("text", ["", ":1883", "a:", "a:b", "a:0", "a/b", "a b", "mqtt://a", "[a", "1::2::3"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text, 1883)


def test_what_is_this_machine() -> None:
    assert [host for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "10.0.0.1", "localhost.plant", "::2") if is_loopback(host)] == []
