from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config
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
        ("\n[mqtt]\nca_file = 'a.pem'", r"station\.toml:3: `mqtt\.ca_file` without `mqtt\.tls = true`"),
        ("[mqtt]\ntls = true\nca_file = 'a.pem'", r":3: `mqtt\.ca_file`: .*a\.pem is not a file"),
        ("[mqtt]\nhost = 'mqtt://a'", r":2: `mqtt\.host` 'mqtt://a'"),
        ("[mqtt]\nhost = 'a:1883'", r":2: `mqtt\.host` 'a:1883'"),
        ("[mqtt]\nhost = 'a b'", r":2: `mqtt\.host` 'a b'"),
        ("[mqtt]\nhost = 'a/mqtt'", r":2: `mqtt\.host` 'a/mqtt'"),
        ("mqtt.port = true", r":1: `mqtt\.port` is true, and an integer from 1 to 65535 belongs there"),
        ("[cameras.a]\nkind = 'mqtt'\ninterval_s = true", r":3: `cameras\.a\.interval_s` is true"),
        ("[station]\nbase_topic = '$SYS/x'", r":2: `station\.base_topic` '\$SYS/x'"),
        ("[station]\ntimezone = 'Mars/Olympus'", r":2: `station\.timezone`"),
        ("[mqtt]\nresponse_prefixes = ['']", ":2: `mqtt.response_prefixes` has an empty one"),
        ("[mqtt]\nresponse_prefixes = ['a/', 'b/+']", r":2: `mqtt\.response_prefixes` 'b/\+'"),
        ("[mqtt]\nresponse_prefixes = ['$share/a']", r"'\$share/a' does not begin a plain topic"),
        ("[inspect]\ndefect_types = ['a', ' ']", r":2: `inspect\.defect_types` has an empty one"),
        ("[inspect]\ndefect_types = ['a', 'b', 'a']", r":2: `inspect\.defect_types` has 'a' 2 times"),
        ("[cameras.a]\nkind = 'mqtt'\ndefect_types = ['']", r":3: `cameras\.a\.defect_types` has an empty one"),
        ("[model]\ncapacity = 10_000_000", r":2: `model\.capacity` 10000000 is more than the model's context"),
        ("[model]\nbundle = 'none'", r":2: `model\.bundle`: .*is .*none a bundle folder\?"),
        ("[store]\npath = 'none/a.db'", r":2: `store\.path`: .*none is not a folder"),
        ("[cameras.a]\nkind = 'folder'\nsource = 'none'", r":3: `cameras\.a\.source`: .*none is not a folder"),
        ("[cameras.a]\nkind = 'folder'", r":2: `cameras\.a\.source` is missing"),
        ("[cameras.a]\nkind = 'video'\nsource = 'none.mp4'", r":3: `cameras\.a\.source`: .*none\.mp4 is not a file"),
        ("[cameras.a]\nkind = 'video'\nsource = 'rtsp://x/y'\nfps = 3", r":4: `cameras\.a\.fps` is for"),
        ("[cameras.a]\nkind = 'mqtt'\nproducer = 'x.cti'", r":3: `cameras\.a\.producer` is for .* genicam"),
        ("[cameras.a]\nkind = 'mqtt'\nwatch = true", r":3: `cameras\.a\.watch` is for a camera of kind folder"),
        ("[cameras.a]\nkind = 'gstreamer'", r":2: `cameras\.a\.source` is missing"),
        ("[cameras.a]\nkind = 'mqtt'\npart_id_pattern = '('", r":3: `cameras\.a\.part_id_pattern` is not a reg"),
        ("[cameras.a]\nkind = 'mqtt'\npart_id_pattern = 'a'", r":3: `cameras\.a\.part_id_pattern` has no group"),
        (
            "[cameras.a]\nkind = 'mqtt'\nregion = [5, -1, 9, 9]",
            r":3: `cameras\.a\.region` \[5, -1, 9, 9\] is not \[x, y",
        ),
        ("[cameras.a]\nkind = 'mqtt'\nregion = [0.1, 0.1, 0.5, 0.5]", r":3: `cameras\.a\.region"),
        ("[cameras.a]\nkind = 'mqtt'\nrotate = 45", r":3: `cameras\.a\.rotate` is 45, and 0, 90, 180 or 270 b"),
        ("[cameras.a]\nkind = 'mqtt'\nmax_side = 447", r":3: `cameras\.a\.max_side` 447 is below 448"),
        ("[cameras.a]\nkind = 'mqtt'\nmax_side = 1541", r":3: `cameras\.a\.max_side`.*1540"),
        ("[cameras.a]\nkind = 'mqtt'\nreference = 'none.png'", r":3: `cameras\.a\.reference`: .*is not a file"),
        ("[cameras.a]\nkind = 'mqtt'\nschema = 'none.json'", r":3: `cameras\.a\.schema`: .*cannot be read"),
        ("[cameras.a]\nkind = 'mqtt'\nschema = 'station.toml'", r":3: `cameras\.a\.schema`: .*is not JSON"),
        ("[tools.a]\ndescription = 'A.'\nlimits.b.maximum = 3", r":3: `tools\.a\.limits\.b`: no such argument"),
        ("[tools.a]\ndescription = 'A.'\npublish.topic = 'a/#'", r":3: `tools\.a\.publish\.topic` 'a/#'"),
        ("[tools.a]\ndescription = 'A.'\nquiet_hours = ['22-6']", r":3: `tools\.a\.quiet_hours`: '22-6' is not a span"),
        ("[cameras.a]\nkind = 'mqtt'\n[tools.a]\ndescription = 'A.'", r":3: `tools\.a` has the name of a camera"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text), {})


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """Those of types too, which keep a file from being read into anything."""
    path = write(
        tmp_path,
        """# A station with a mistake in nearly every line.
[mqtt]
host = "mqtt://broker"
port = "many"
hots = 1
response_prefixes = [
    "clients/",
    "",
]

[inspect]
instruction = '''
[not a table]
key = "neither"
'''
pass_below = 2

[cameras.top]
[cameras.side]
kind = "folder"
source = "none"

[tools."set speed"]
description = "Sets the speed."
""",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"LINESIDE_COMMANDS__ROUNDS": "many", "LINESIDE_MODEL": "x"})
    told = str(caught.value).splitlines()
    places = [line.split(": ")[0].removeprefix(str(path)) for line in told]
    variables, lines = [places[0], places[-1]], places[1:-1]
    assert lines == [":3", ":4", ":5", ":6", ":16", ":18", ":21", ":23"], "\n".join(told)
    assert variables == ["LINESIDE_COMMANDS__ROUNDS", "LINESIDE_MODEL"]


def test_what_may_come_later_is_not_looked_for(tmp_path: Path) -> None:
    text = "".join(
        f"[cameras.{name}]\nkind = 'video'\nsource = '{source}'\n"
        for name, source in (("a", "rtsp://camera/1"), ("b", "0"), ("c", "/dev/video7"))
    )
    hosts = ("broker.local", "127.0.0.1", "::1", "fe80::1%eth0")
    for host in hosts:
        assert (
            load_config(write(tmp_path, f"{text}[mqtt]\nallow_anonymous = true\nhost = '{host}'"), {}).mqtt.host == host
        )


def test_a_byte_order_mark_is_read_past(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_bytes(b"\xef\xbb\xbf[mqtt]\r\nport = 1884\r\n")
    assert load_config(path, {}).mqtt.port == 1884


@pytest.mark.parametrize("variable", ["LINESIDE_OTHER", "LINESIDE_MQTT__PROT", "LINESIDE_MQTTT__PORT", "LINESIDE_"])
def test_a_variable_that_stands_for_no_key_is_a_mistake(variable: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}: unknown key"):
        load_config(write(tmp_path, ""), {variable: "1"})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml", {})


def test_environment_replaces_single_values(tmp_path: Path) -> None:
    variables = {"LINESIDE_MQTT__HOST": "broker.local", "LINESIDE_MQTT__PORT": "8883", "OTHER": "ignored"}
    config = load_config(write(tmp_path, "[mqtt]\nhost = 'a'\nusername = 'u'"), variables)
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.username) == ("broker.local", 8883, "u")
    with pytest.raises(ConfigError, match=r"unknown key `mqtt\.prot`"):
        load_config(write(tmp_path, ""), {"LINESIDE_MQTT__PROT": "1"})


def test_secrets_do_not_show(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[mqtt]\nusername = 'a'\npassword = 'hunter2'"), {})
    assert "hunter2" not in repr(config)
    assert config.mqtt.password.get_secret_value() == "hunter2"
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "[mqtt]\npassword = 5\nhost = ['hunter2']"), {})
    assert "hunter2" not in str(caught.value)
