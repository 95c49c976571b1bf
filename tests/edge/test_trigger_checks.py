"""What is wrong with triggers is told by key, before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.errors import ConfigError
from lineside.edge.live.reload import fixed_problem
from lineside.edge.station_file import load_config

CAMERAS = """
[cameras.top]
kind = "mqtt"
[cameras.side]
kind = "mqtt"
"""


def check(folder: Path, text: str) -> str:
    """What is said of a station file with this; empty where it is right."""
    path = folder / "station.toml"
    path.write_text(CAMERAS + text)
    try:
        load_config(path, {})
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "keys",
    [
        'kind = "mqtt"',
        'kind = "timer"\ninterval_s = 0.5',
        'kind = "gpio"\npin = "GPIO17"\nedge = "both"',
        'kind = "modbus"\naddress = "plc:1502"\ncoil = 3\nreset = true',
        'kind = "modbus"\naddress = "[::1]:1502"',
        'kind = "opcua"\naddress = "opc.tcp://plc:4840"\nnode = "ns=2;s=a"',
        'kind = "opcua"\naddress = "opc.tcp://plc:4840"\nnode = "i=85"',
        'kind = "opcua"\naddress = "opc.tcp://plc:4840"\nnode = "ns=3;g=09087e75-8e5e-499b-954f-f2a9603db28a"',
    ],
)
def test_each_kind_has_what_it_needs(tmp_path: Path, keys: str) -> None:
    assert check(tmp_path, f'[triggers.eye]\ncameras = ["top", "side"]\n{keys}') == ""


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("eye", 'kind = "mqtt"\ncameras = ["back"]', "no camera 'back'; the station has top, side"),
        ("eye", 'kind = "mqtt"\ncameras = []', "`triggers.eye.cameras`"),
        ("eye", 'kind = "mqtt"\ncameras = ["top", "top"]', "names a camera twice"),
        ("top", 'kind = "mqtt"\ncameras = ["top"]', "`triggers.top` has the name of a camera"),
        ("station", 'kind = "mqtt"\ncameras = ["top"]', "would speak on event/station"),
        ("eye", 'kind = "timer"\ncameras = ["top"]', "`triggers.eye.interval_s` is missing"),
        ("eye", 'kind = "gpio"\ncameras = ["top"]', "`triggers.eye.pin` is missing"),
        (
            "eye",
            'kind = "mqtt"\npin = "4"\ncameras = ["top"]',
            "`triggers.eye.pin` says nothing to a trigger of kind mqtt",
        ),
        ("eye", 'kind = "modbus"\naddress = "tcp://plc"\ncameras = ["top"]', "host or host:port would be right"),
        (
            "eye",
            'kind = "opcua"\naddress = "plc"\nnode = "i=1"\ncameras = ["top"]',
            "opc.tcp://host:4840 would be right",
        ),
        ("eye", 'kind = "modbus"\naddress = "h:99999"\ncameras = ["top"]', "host or host:port would be right"),
        ("eye", 'kind = "opcua"\naddress = "opc.tcp://[::1"\nnode = "i=1"\ncameras = ["top"]', "is no address"),
        (
            "eye",
            'kind = "opcua"\naddress = "opc.tcp://h"\nnode = "Line1.Reject"\ncameras = ["top"]',
            "`triggers.eye.node` 'Line1.Reject' is no node",
        ),
        ("eye", 'kind = "modbus"\naddress = "p"\nreset = true\nedge = "both"\ncameras = ["top"]', "must be rising"),
        ("eye", 'kind = "mqtt"\nwait = 3\ncameras = ["top"]', "unknown key `triggers.eye.wait`"),
    ],
)
def test_a_mistake_names_its_key(tmp_path: Path, name: str, keys: str, said: str) -> None:
    assert said in check(tmp_path, f"[triggers.{name}]\n{keys}")


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.trigger_checks.find_spec", lambda _name: None)
    said = check(tmp_path, '[triggers.eye]\nkind = "gpio"\npin = "GPIO4"\ncameras = ["top"]')
    assert "install lineside[gpio]" in said


def test_an_output_takes_the_verdicts_of_a_trigger_and_not_of_its_cameras(tmp_path: Path) -> None:
    trigger = '[triggers.eye]\nkind = "mqtt"\ncameras = ["top"]\n'
    output = '[outputs.reject]\nkind = "mqtt"\ntopic = "a"\ncameras = ["{}"]\n'
    assert check(tmp_path, trigger + output.format("eye")) == ""
    assert check(tmp_path, trigger + output.format("side")) == ""
    assert "names 'top'; there is eye, side" in check(tmp_path, trigger + output.format("top"))


def test_a_start_alone_takes_up_triggers(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(CAMERAS)
    before = load_config(path, {})
    path.write_text(CAMERAS + '[triggers.eye]\nkind = "mqtt"\ncameras = ["top"]')
    assert "`triggers`" in fixed_problem(before, load_config(path, {}))


def test_a_node_of_an_output_is_one(tmp_path: Path) -> None:
    output = '[outputs.reject]\nkind = "opcua"\naddress = "opc.tcp://plc:4840"\nnode = "{}"\n'
    assert check(tmp_path, output.format("ns=2;s=Line1.Reject")) == ""
    assert "`outputs.reject.node` 'ns=2;q=x' is no node" in check(tmp_path, output.format("ns=2;q=x"))
