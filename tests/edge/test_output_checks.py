"""Mistakes in `[outputs]` are told before anything is connected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config

GOOD = """
[cameras.top]
kind = "mqtt"
[tools.stop_line]
description = "Stop."
[outputs.reject]
kind = "modbus"
address = "plc:1502"
coil = 3
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "modbus"\ncoil = 3', r"`outputs\.x\.address` is missing"),
        ('kind = "modbus"\naddress = "plc"', r"`outputs\.x\.coil` is missing: .* or `register` in its place"),
        (
            'kind = "modbus"\naddress = "plc"\ncoil = 1\nregister = 2',
            r"x\.register` is 2, and `coil` is 1: leave",
        ),
        ('kind = "modbus"\naddress = "plc:x"\ncoil = 1', "neither `host` nor `host:port`"),
        ('kind = "modbus"\naddress = "plc"\ncoil = 1\ntopic = "a"', r"`outputs\.x\.topic` is a key of kind mqtt"),
        ('kind = "gpio"', r"`outputs\.x\.pin` is missing"),
        ('kind = "opcua"\naddress = "plc"\nnode = "i=1"', "does not begin with opc.tcp://"),
        ('kind = "mqtt"\ntopic = "a/#"', "is not a plain topic"),
        ('kind = "http"\naddress = "relay/1"', "does not begin with http:// or https://"),
        ('kind = "http"\naddress = "http://[::1/x"', r"`outputs\.x\.address` .* is no address"),
        ('kind = "http"\naddress = "http://relay:99999/"', "is no address"),
        ('kind = "http"\naddress = "http://u:geheim@relay/"', r"http://\*\*\*@relay/' has a login"),
        ('kind = "http"\naddress = "http:///x"', "names no host"),
        ('kind = "http"\naddress = "http://relay/\u00fc"', "a letter that is not ASCII"),
        ('kind = "http"\naddress = "http://relay/a b"', "has a space"),
        ('kind = "http"\naddress = "http://relay"\nheaders = {X = "a\\nb"}', r"`outputs\.x\.headers` has 'X'"),
        ('kind = "http"\naddress = "http://relay"\nheaders = {X = "\u2192"}', r"`outputs\.x\.headers` has 'X'"),
        ('kind = "http"\naddress = "http://relay"\nheaders = {"X Y" = "a"}', r"`outputs\.x\.headers` has 'X Y'"),
        ('kind = "opcua"\naddress = "opc.tcp://[::1"\nnode = "i=1"', "is no address"),
        (
            'kind = "http"\naddress = "http://relay"\npayload = "{{ speed }}"',
            r"`outputs\.x\.payload` uses speed: there is camera, captured_at",
        ),
        ('kind = "mqtt"\ntopic = "a"\ncameras = ["side"]', r"names 'side'; there is top"),
        ('kind = "mqtt"\ntopic = "a"\non = []', r"`outputs\.x\.on` is empty"),
        ('kind = "mqtt"\ntopic = "a"\ndelay_s = 2\ndeadline_s = 1', "is shorter than `delay_s`"),
        ('kind = "mqtt"\ntopic = "a"\ndelay_s = 60', "is longer than `inspect.max_age_s`"),
        ('kind = "mqtt"\ntopic = "a"\nheartbeat_s = 1\npulse_s = 1', r"`outputs\.x\.pulse_s` does nothing beside"),
        ('kind = "lamp"', r"`outputs\.x\.kind`"),
        ('kind = "mqtt"\ntopic = "a"\nsafe = "open"', r"`outputs\.x\.safe`"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "station.toml").write_text(f"{GOOD}\n[outputs.x]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "station.toml")


@pytest.mark.parametrize(("name", "said"), [("top", "camera"), ("stop_line", "tool"), ("station", "event/station")])
def test_its_name_is_its_own(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "station.toml").write_text(f'{GOOD}\n[outputs.{name}]\nkind = "mqtt"\ntopic = "a"\n')
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "station.toml")


def test_reading_it_loads_no_library(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(GOOD)
    code = (
        "import sys; from pathlib import Path; from lineside.edge.station_file import load_config;"
        f"assert load_config(Path({str(tmp_path / 'station.toml')!r})).outputs['reject'].coil == 3;"
        "assert not {'pymodbus', 'asyncua', 'gpiozero', 'onnxruntime'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
