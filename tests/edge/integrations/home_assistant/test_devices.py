"""What is announced of a station: by its tools' arguments and states, and by what its file allows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jinja2
import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config, StationConfig
from lineside.edge.home_assistant_config import DiscoveryConfig
from lineside.edge.integrations.home_assistant.device import Device
from lineside.edge.integrations.home_assistant.devices import devices_of
from lineside.edge.integrations.home_assistant.expressions import Code, literal, payload
from lineside.edge.integrations.home_assistant.ids import camera_id, key_of, station_id
from lineside.edge.integrations.home_assistant.tool_shapes import shapes_of
from lineside.edge.remote_config import RemoteConfig
from lineside.edge.station_file import load_config
from lineside.edge.tool_config import PublishConfig, StateConfig, ToolConfig
from tests.conftest import ROOT


def tool(required: list[str] | None = None, **changes: Any) -> ToolConfig:
    """`changes` whose values are dicts with a type or an enum are arguments."""
    arguments = {name: changes.pop(name) for name in list(changes) if isinstance(changes[name], dict)}
    needed = list(arguments) if required is None else required
    return ToolConfig("It.", {"type": "object", "properties": arguments, "required": needed}, **changes)


def station(**changes: Any) -> Config:
    config = Config(
        station=StationConfig("hall"),
        home_assistant=DiscoveryConfig(),
        remote=RemoteConfig(("call", "config", "model", "switch")),
        cameras={"door": CameraConfig("mqtt"), "gate": CameraConfig("mqtt")},
    )
    return dataclasses.replace(config, **changes)


def of_station(config: Config) -> Device:
    return next(iter(devices_of(config, None).values()))


def rendered(template: str, **values: Any) -> Any:
    """As Home Assistant would, as far as these templates go."""
    environment = jinja2.Environment()
    environment.filters["to_json"] = json.dumps
    return environment.from_string(template).render(values)


INTEGER, NUMBER, TEXT = ({"type": kind} for kind in ("integer", "number", "string"))
ON_OFF: dict[str, Any] = {"enum": ["off", "on"]}
MODES: dict[str, Any] = {"enum": ["slow", "fast"]}


@pytest.mark.parametrize(
    ("of", "platforms"),
    [
        (tool(), ["button"]),
        (tool(percent=INTEGER), ["number"]),
        (tool(state=ON_OFF), ["switch"]),
        (tool(on={"type": "boolean"}), ["switch"]),
        (tool(mode=MODES), ["select"]),
        (tool(say=TEXT), ["text"]),
        (tool([], percent=INTEGER), ["number"]),
        (tool(["percent"], percent=INTEGER, ramp_s=NUMBER), ["number"]),
        (tool(room=MODES, state=ON_OFF), ["switch", "switch"]),
        (tool(mode=MODES, percent=INTEGER), ["number", "number"]),
        (tool(a=INTEGER, b=INTEGER), []),
        (tool(a=MODES, b=MODES, c=INTEGER), []),
        (tool(points={"type": "array"}), []),
    ],
)
def test_a_tool_has_the_component_that_fits_its_arguments(of: ToolConfig, platforms: list[str]) -> None:
    assert [shape.platform for shape in shapes_of(of)] == platforms


def test_a_number_is_no_wider_than_the_limits() -> None:
    heat = {"type": "number", "minimum": 0, "exclusiveMaximum": 40}
    one = tool(temperature=heat)
    one = dataclasses.replace(
        one, limits={"temperature": {"minimum": 5}}, units={"temperature": "degC"}, step={"temperature": 0.5}
    )
    (shape,) = shapes_of(one)
    assert shape.options == {
        "min": 5,
        "max": 39.999,
        "step": 0.5,
        "mode": "auto",
        "unit_of_measurement": "°C",
        "device_class": "temperature",
    }
    (free,) = shapes_of(tool(count=INTEGER))
    assert (free.options["mode"], free.options["step"]) == ("box", 1)


def test_what_a_device_says_is_the_state_of_what_would_ask_for_it() -> None:
    """Also where the device has words and units of its own; where it says something else, there is none."""
    lamp = {"on": "LIGHT", "off": "DARK"}
    topic = StateConfig("lamp", "{{ is }}", expect="{{ 'LIGHT' if state == 'on' else 'DARK' }}")
    fan = tool(
        percent=INTEGER | {"minimum": 0, "maximum": 100},
        publish=PublishConfig("fan/set", {"speed": "{{ percent * 2 }}"}),
        state=StateConfig("fan", "{{ (speed / 2) | int }}"),
    )
    raw = dataclasses.replace(fan, state=StateConfig("fan", "{{ speed }}"))
    whole = dataclasses.replace(fan, publish=PublishConfig("fan/set", "{{ percent }}"), state=StateConfig("fan"))
    set_lamp = tool(state=ON_OFF)
    set_lamp = dataclasses.replace(set_lamp, state=topic)
    tools = {"set_lamp": set_lamp, "fan": fan, "raw": raw, "whole": whole}
    components = of_station(station(tools=tools)).components
    switch = components["switch-tool-set_lamp"]
    assert switch["state_topic"] == "lamp"
    for said, word in lamp.items():
        assert rendered(switch["value_template"], value_json={"is": word}) == said.upper()
    assert rendered(switch["value_template"], value_json={"is": "broken"}) == "None"
    assert rendered(switch["value_template"], value_json={"battery": 3}) == ""
    assert rendered(components["number-tool-fan"]["value_template"], value_json={"speed": 80}) == "40"
    assert "state_topic" not in components["number-tool-raw"]
    assert rendered(components["number-tool-whole"]["value_template"], value="7", value_json=7) == "7"


def test_a_body_says_what_was_set_whatever_that_is() -> None:
    hostile = '"}} {{ x }} {% y %} é \\'
    body = payload({"text": Code("value"), hostile: [hostile, None, True, 1.5]})
    assert json.loads(rendered(body, value=hostile)) == {"text": hostile, hostile: [hostile, None, True, 1.5]}
    assert literal({"a": Code("b")}) == '{"a": b}'


def test_only_what_is_allowed_can_be_done() -> None:
    tools = {"fan": tool(percent=INTEGER), "gate": tool(confirm_s=5.0), "never": tool(allowed=False)}
    nothing = of_station(station(tools=tools, remote=RemoteConfig()))
    platforms = {name for name, component in nothing.components.items() if "command_topic" in component}
    assert platforms == {"text-ask"}
    assert "event-tool-gate-confirmation" in nothing.components
    everything = of_station(station(tools=tools)).components
    assert {each.get("qos") for each in everything.values() if "command_topic" in each} == {1}
    assert {"number-tool-fan", "button-tool-gate", "number-pass_below", "button-rollback"} <= everything.keys()
    assert "button-tool-never" not in everything
    assert "update-model" not in everything
    door = list(devices_of(station(remote=RemoteConfig(("call",))), None).values())[1]
    assert "switch-inspection" not in door.components


def test_the_table_chooses_cameras_and_tools() -> None:
    tools = {"fan": tool(percent=INTEGER), "gate": tool()}
    announced = DiscoveryConfig("ha/x", cameras=("gate",), tools=("gate",))
    devices = devices_of(station(tools=tools, home_assistant=announced), None)
    assert list(devices) == ["ha/x/device/lineside_hall/config", "ha/x/device/lineside_hall-gate/config"]
    keys = of_station(station(tools=tools, home_assistant=announced)).components
    assert [key for key in keys if "-tool-" in key] == ["button-tool-gate"]
    assert devices_of(station(home_assistant=None), None) == {}


def test_ids_are_those_of_one_station_alone() -> None:
    bases = ("lineside/a", "lineside/a/b", "lineside/a_b", "lineside_a/b", "lineside/a-b", "lineside/ä", "lineside/ö")
    ids = [station_id(base) for base in bases] + [camera_id("lineside/a", "b"), camera_id("lineside/a", "B")]
    assert len(set(ids)) == len(ids)
    assert all(part.isascii() and "/" not in part and " " not in part for part in ids)
    assert len({key_of("tool", "x", value) for value in ("a b", "a_b", "a-b", "ä", "a/b")}) == 5


@pytest.mark.parametrize("path", sorted(ROOT.glob("deploy/stations/*/station.toml")), ids=lambda path: path.parent.name)
def test_every_station_that_ships_can_be_announced(path: Path) -> None:
    """Ids are there once each, and no message is larger than a small broker takes."""
    config = dataclasses.replace(load_config(path), home_assistant=DiscoveryConfig(), remote=RemoteConfig(("call",)))
    unique = []
    for device in devices_of(config, None).values():
        assert len(device.encode({})) < 100_000
        unique += [component["unique_id"] for component in device.components.values()]
    assert len(set(unique)) == len(unique)
    assert len([key for key in unique if "-tool-" in key]) >= min(len(config.tools), 1)
