"""What a call does: a payload made from a template, a Python function."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.calls.bindings import Done
from lineside.edge.calls.bindings.publish import PublishBinding
from lineside.edge.calls.bindings.python import PythonBinding
from lineside.edge.errors import BrokerError, ConfigError, QueueFull
from lineside.edge.tool_config import PublishConfig, ToolConfig
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Ending
from lineside.runtime.chat import ToolCall
from tests.support.wait import LIMIT_S, until

LAMP = {
    "type": "object",
    "properties": {"percent": {"type": "integer"}, "room": {"type": "string"}, "on": {"type": "boolean"}},
    "required": ["percent"],
}


class FakeConnection:
    """Takes what is published; `answers` says whether the broker acknowledges."""

    def __init__(
        self,
        *,
        connected: bool = True,
        answers: bool = True,
        problem: str = "",
        refuses: str = "",
        breaks: bool = False,
        full: int = 0,
    ) -> None:
        self.connected = threading.Event()
        if connected:
            self.connected.set()
        self.published: list[tuple[str, bytes, str]] = []
        self.options: list[tuple[bool, float | None]] = []
        self._answers, self._problem, self._refuses, self._breaks = answers, problem, refuses, breaks
        self._full = full

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        content_type: str,
        expiry_s: float | None,
        deadline: float,
        retain: bool,
        ended: Callable[[Ending], None],
    ) -> None:
        assert deadline > time.monotonic()
        if self._full:
            self._full -= 1
            raise QueueFull("full")
        if self._problem:
            raise BrokerError(self._problem)
        self.published.append((topic, payload, content_type))
        self.options.append((retain, expiry_s))
        if self._refuses:
            ended(Ending("refused", self._refuses, 0x87))
        elif self._breaks:
            ended(Ending("lost"))
        elif self._answers:
            ended(Ending("acknowledged"))


def publish(payload: Any, connection: FakeConnection | None = None, wait_s: float = 0.3, **arguments: Any) -> Done:
    tool = ToolConfig("Lamp.", LAMP, wait_s=wait_s, publish=PublishConfig("zigbee/lamp/set", payload))
    binding = PublishBinding({"lamp": tool}, cast(Connection, connection or FakeConnection()))
    return binding.invoke(ToolCall("abc123DEF", "lamp", arguments), tool, lambda: None)


def test_a_template_makes_json_with_types() -> None:
    connection = FakeConnection()
    template = {
        "state": "{{ 'ON' if percent else 'OFF' }}",
        "brightness": "{{ (percent * 2.54) | round | int }}",
        "where": ["room {{ room }}", 7, True],
    }
    done = publish(template, connection, percent=50, room="küche")
    assert done.outcome == "issued"
    ((topic, payload, kind),) = connection.published
    assert (topic, kind) == ("zigbee/lamp/set", "application/json")
    assert json.loads(payload) == {"state": "ON", "brightness": 127, "where": ["room küche", 7, True]}
    assert done.result == {"topic": topic, "payload": json.loads(payload)}


def test_a_text_and_no_template_at_all() -> None:
    connection = FakeConnection()
    publish("{{ room }} at {{ percent }} %", connection, percent=50, room="bath")
    publish(None, connection, percent=50)
    assert [item[1:] for item in connection.published] == [
        (b"bath at 50 %", "text/plain"),
        (b'{"percent": 50}', "application/json"),
    ]


@given(st.text(st.characters(codec="utf-8")), st.integers())
def test_no_argument_breaks_out_of_its_place(room: str, percent: int) -> None:
    """Quotes, braces and templates in an argument stay what they are: text."""
    connection = FakeConnection()
    publish(
        {"room": "{{ room }}", "label": "in {{ room }}", "percent": "{{ percent }}"},
        connection,
        percent=percent,
        room=room,
    )
    assert json.loads(connection.published[0][1]) == {"room": room, "label": f"in {room}", "percent": percent}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"a": "{{ colour }}"}, r"`tools\.lamp\.publish\.payload\.a`: colour is no argument of this tool"),
        ("{{ percent", "is not a template"),
        ({"a": ["{% if %}"]}, r"payload\.a\.0` is not a template"),
        ({"a": float("inf")}, r"payload\.a`: inf is not JSON"),
    ],
)
def test_a_template_is_checked_at_start(payload: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        publish(payload, percent=1)


@pytest.mark.parametrize("topic", ["zigbee/+/set", "#", "$SYS/x", "lamp/{{ room }}"])
def test_a_topic_is_checked_at_start(topic: str) -> None:
    tool = ToolConfig("Lamp.", LAMP, publish=PublishConfig(topic))
    with pytest.raises(ConfigError, match="not a plain topic"):
        PublishBinding({"lamp": tool}, cast(Connection, FakeConnection()))


@pytest.mark.parametrize(
    ("payload", "arguments", "reason"),
    [
        ({"a": "{{ room.upper() }}"}, {"percent": 1}, "'room' is undefined"),
        ({"a": "{{ 1 / percent }}"}, {"percent": 0}, "division by zero"),
        ({"a": "{{ room.__class__.__mro__ }}"}, {"percent": 1, "room": "x"}, "unsafe"),
    ],
)
def test_a_payload_that_cannot_be_made_fails_and_publishes_nothing(
    payload: Any, arguments: dict[str, Any], reason: str
) -> None:
    connection = FakeConnection()
    done = publish(payload, connection, **arguments)
    assert done.outcome == "failed"
    assert reason in done.detail
    assert connection.published == []


def test_a_broker_that_does_not_take_it_is_said() -> None:
    assert publish(None, FakeConnection(connected=False), percent=1).outcome == "failed"
    assert publish(None, FakeConnection(answers=False), percent=1).outcome == "expired"
    assert publish(None, FakeConnection(problem="too large"), percent=1) == Done("failed", "too large")
    refused = publish(None, FakeConnection(refuses="Not authorized"), percent=1)
    assert refused == Done("failed", "the broker refused it on zigbee/lamp/set: Not authorized")


def test_a_lamp_is_not_switched_twice_by_a_connection_that_breaks() -> None:
    connection = FakeConnection(breaks=True)
    done = publish(None, connection, percent=1)
    assert (done.outcome, "may have arrived" in done.detail) == ("expired", True)
    assert len(connection.published) == 1


def test_a_full_connection_is_waited_for() -> None:
    connection = FakeConnection(full=2)
    assert publish(None, connection, wait_s=30.0, percent=1).outcome == "issued"
    assert len(connection.published) == 1


@pytest.mark.parametrize("retain", [True, False])
def test_what_is_retained_does_not_expire(retain: bool) -> None:
    connection = FakeConnection()
    tool = ToolConfig("Lamp.", LAMP, publish=PublishConfig("lamp", None, retain))
    PublishBinding({"lamp": tool}, cast(Connection, connection)).invoke(
        ToolCall("abc123DEF", "lamp", {"percent": 1}), tool, lambda: None
    )
    ((kept, expiry_s),) = connection.options
    assert kept == retain
    assert (expiry_s is None) == retain


def test_a_name_that_templates_keep_for_themselves_is_refused() -> None:
    schema = {"type": "object", "properties": {"self": {"type": "integer"}}}
    tool = ToolConfig("T.", schema, publish=PublishConfig("t", {"n": "{{ self }}"}))
    with pytest.raises(ConfigError, match="an argument called self"):
        PublishBinding({"t": tool}, cast(Connection, FakeConnection()))


# The functions that the Python binding calls


def double(percent: int) -> dict[str, int]:
    return {"percent": 2 * percent}


def explode(**_arguments: Any) -> None:
    raise ValueError("no such belt")


def not_json(**_arguments: Any) -> object:
    return object()


def endless(**_arguments: Any) -> float:
    return float("inf")


def leave(**_arguments: Any) -> None:
    raise SystemExit(3)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def mute(**_arguments: Any) -> None:
    raise Mute


def deep(**_arguments: Any) -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


async def later(**_arguments: Any) -> None:
    raise AssertionError("nobody runs this")


def one_by_one(**_arguments: Any) -> Iterator[int]:
    yield 1


def hands_out(**_arguments: Any) -> Iterator[int]:
    return one_by_one()


RELEASE = threading.Event()


def slow(**_arguments: Any) -> str:
    RELEASE.wait(LIMIT_S)
    return "done"


@pytest.fixture(autouse=True)
def _release() -> Iterator[None]:
    RELEASE.clear()
    yield
    RELEASE.set()


def python_tool(function: str, wait_s: float = LIMIT_S) -> tuple[PythonBinding, ToolConfig]:
    tool = ToolConfig("Tool.", LAMP, wait_s=wait_s, python=function)
    return PythonBinding({"tool": tool}), tool


@pytest.mark.parametrize(
    ("function", "done"),
    [
        ("double", Done("achieved", "", {"percent": 10})),
        ("explode", Done("failed", "ValueError: no such belt")),
        ("not_json", Done("achieved", "it returned a object, which is not JSON")),
        ("endless", Done("achieved", "it returned a float, which is not JSON")),
        ("leave", Done("failed", "SystemExit: 3")),
        ("mute", Done("failed", "Mute: (it cannot say why)")),
        ("deep", Done("achieved", "it returned a list, which is not JSON")),
        ("hands_out", Done("failed", "it returned a generator, which nobody runs: use a plain function")),
    ],
)
def test_a_function_says_what_was_done(function: str, done: Done) -> None:
    binding, tool = python_tool(f"{__name__}:{function}")
    assert binding.invoke(ToolCall("abc123DEF", "tool", {"percent": 5}), tool, lambda: None) == done


def test_a_function_that_hangs_holds_nobody_up() -> None:
    binding, tool = python_tool(f"{__name__}:slow", wait_s=0.2)
    call = ToolCall("abc123DEF", "tool", {"percent": 5})
    assert binding.invoke(call, tool, lambda: None).outcome == "expired"
    assert binding.invoke(call, tool, lambda: None) == Done("failed", "an earlier call of tool is still running")
    RELEASE.set()
    until(lambda: binding.invoke(call, tool, lambda: None).outcome == "achieved")


def test_stopping_does_not_wait_for_a_function() -> None:
    binding, tool = python_tool(f"{__name__}:slow", wait_s=600.0)
    done = binding.invoke(ToolCall("abc123DEF", "tool", {"percent": 5}), tool, binding.close)
    assert done == Done("issued", "the station stopped while it was running")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module:run", r"`tools\.tool\.python`: 'no_such_module:run' cannot be imported"),
        (f"{__name__}:missing", "cannot be imported"),
        (f"{__name__}:LAMP", "is not a function"),
        (f"{__name__}:later", "is a coroutine or a generator"),
        (f"{__name__}:one_by_one", "is a coroutine or a generator"),
        ("os.path:", "is neither like package.module:function"),
        (":foo", "is neither like"),
        ("tests.support.raises_on_import:run", "RuntimeError: not today"),
        ("not_offered", r"no installed package offers 'not_offered' in the group lineside\.tools"),
    ],
)
def test_a_function_is_found_at_start_or_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        python_tool(spec)
