"""A topic is declared, and an argument does no more than choose among those that are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.calls.bindings.publish import PublishBinding
from lineside.edge.errors import ConfigError
from lineside.edge.station_file import load_config
from lineside.edge.tool_config import PublishConfig, ToolConfig
from lineside.edge.topic_choice import topic_for
from lineside.edge.wire.mqtt import Connection
from lineside.runtime.chat import ToolCall
from tests.edge.calls.test_bindings import FakeConnection

TOPICS = {"kitchen": "zigbee2mqtt/kitchen/set", "bedroom": "zigbee2mqtt/bed/set"}
ROOM = {
    "type": "object",
    "properties": {"room": {"enum": list(TOPICS)}, "on": {"type": "boolean"}},
    "required": ["room", "on"],
}
STATION = """
[tools.light]
description = "Light."
[tools.light.parameters]
type = "object"
required = [{required}]
properties.room = {room}
properties.on = {{ type = "boolean" }}
[tools.light.publish.topic{argument}]
{lines}
"""


def light(payload: Any = None) -> ToolConfig:
    return ToolConfig("Light.", ROOM, wait_s=0.3, publish=PublishConfig({"room": TOPICS}, payload))


@pytest.mark.parametrize("room", TOPICS)
def test_the_argument_chooses_where_a_call_goes(room: str) -> None:
    """What has chosen is not said again in the payload."""
    connection = FakeConnection()
    binding = PublishBinding({"light": light()}, cast(Connection, connection))
    done = binding.invoke(ToolCall("abc123DEF", "light", {"room": room, "on": True}), light(), lambda: None)
    assert connection.published == [(TOPICS[room], b'{"on": true}', "application/json")]
    assert (done.outcome, done.detail) == ("issued", f"published on {TOPICS[room]}")


@given(st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text())))
def test_no_value_leads_to_another_topic(room: Any) -> None:
    """Also one that no policy has looked at."""
    connection = FakeConnection()
    binding = PublishBinding({"light": light()}, cast(Connection, connection))
    done = binding.invoke(ToolCall("abc123DEF", "light", {"room": room, "on": True}), light(), lambda: None)
    assert {topic for topic, *_ in connection.published} <= set(TOPICS.values())
    assert (done.outcome == "failed") == (room not in ("kitchen", "bedroom"))


def test_values_that_are_no_texts_choose_as_toml_writes_them() -> None:
    topic = {"zone": {"1": "heat/1", "true": "heat/all"}}
    assert topic_for(topic, {"zone": 1}) == "heat/1"
    assert topic_for(topic, {"zone": True}) == "heat/all"


def test_a_refusal_names_the_topic() -> None:
    connection = FakeConnection(refuses="Not authorized")
    binding = PublishBinding({"light": light()}, cast(Connection, connection))
    done = binding.invoke(ToolCall("abc123DEF", "light", {"room": "bedroom", "on": True}), light(), lambda: None)
    assert done.detail == "the broker refused it on zigbee2mqtt/bed/set: Not authorized"


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"lines": 'kitchen = "a"'}, 9, "has no topic for bedroom: name one for each value of room"),
        ({"lines": 'kitchen = "a"\nbedroom = "b"\nbath = "c"'}, 12, r"room\.bath`: room is one of kitchen, bedroom"),
        ({"lines": 'kitchen = "a/+"\nbedroom = "b"'}, 10, r"room\.kitchen` 'a/\+' is not a plain topic"),
        ({"lines": 'kitchen = "a/{{ on }}"\nbedroom = "b"'}, 10, "is not a plain topic"),
        ({"lines": 'kitchen = "$SYS/a"\nbedroom = "b"'}, 10, "is not a plain topic"),
        ({"argument": ".floor"}, 9, r"topic\.floor`: no such argument; the tool has room, on"),
        ({"argument": ".on"}, 9, "on must have an `enum`"),
        ({"required": '"on"'}, 9, "room must be in `required`"),
        ({"argument": "", "lines": "room = 3"}, 10, r"topic\.room` is 3, and a table belongs there"),
        ({"argument": "", "lines": 'room = {kitchen = "a", bedroom = "b"}\non = {}'}, 9, "one argument that chooses"),
    ],
)
def test_a_mistake_is_found_at_check_with_its_line(
    changes: dict[str, str], line: int, message: str, tmp_path: Path
) -> None:
    right = {
        "required": '"room"',
        "room": '{ enum = ["kitchen", "bedroom"] }',
        "argument": ".room",
        "lines": 'kitchen = "a"\nbedroom = "b"',
    }
    path = tmp_path / "station.toml"
    path.write_text(STATION.format(**right))
    load_config(path, {})
    path.write_text(STATION.format(**right | changes))
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, {})
    assert str(caught.value).startswith(f"{path}:{line}: ")
