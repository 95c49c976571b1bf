"""A step is made from where the device is known to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lineside.edge.calls.states import States
from lineside.edge.commands.deciding import _declared
from lineside.edge.commands.steps import stepped, steps_said
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError
from lineside.edge.tool_config import PublishConfig, StateConfig, ToolConfig
from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.values import Findings, check_values
from tests.support.station import SPEED

BRIGHTNESS = PublishConfig("lamp/set", {"brightness": "{{ (percent * 2.54) | round | int }}"})
IN_254 = StateConfig("lamp", "{{ brightness }}", within=1)
IN_PERCENT = StateConfig("lamp", "{{ (brightness / 2.54) | round | int }}")


def step(wanted: Any, percent: int, brightness: int | None, state: StateConfig | None, by: float = 10) -> Any:
    """The percent of the next call, or the code of the refusal."""
    tools = {"lamp": ToolConfig("Lamp.", SPEED, publish=BRIGHTNESS, state=state, step={"percent": by} if by else {})}
    states = States(tools, Counters())
    if brightness is not None:
        states.take("lamp", json.dumps({"brightness": brightness}).encode(), retained=False)
    try:
        call = stepped(wanted, ToolCall("old", "lamp", {"percent": percent}), tools, states)
    except RequestError as error:
        return error.code
    assert (call.id, call.name) == ("", "lamp")
    return call.arguments["percent"]


@pytest.mark.parametrize(
    ("wanted", "percent", "brightness", "state", "expected"),
    [
        ("more", 50, 126, IN_254, 60),
        ("less", 50, 127, IN_254, 40),
        ("more", 50, 127, IN_PERCENT, 60),
        ("more", 50, 203, IN_PERCENT, 90),  # somebody has turned it up meanwhile
        ("more", 50, 203, IN_254, "state_differs"),  # in another unit than the argument
        ("more", 50, None, IN_254, "state_unknown"),
        ("more", 50, None, None, 60),  # a lamp that says nothing: what was asked for counts
        ("more", 95, 241, IN_254, 100),
        ("more", 100, 254, IN_254, "no_more"),
        ("less", 5, 13, IN_254, 0),
    ],
)
def test_a_step_from_where_it_is(
    wanted: str, percent: int, brightness: int | None, state: StateConfig | None, expected: Any
) -> None:
    assert step(wanted, percent, brightness, state) == expected


def test_without_a_declared_step_nothing_is_guessed() -> None:
    assert step("more", 50, 127, IN_254, by=0) == "no_step"


@pytest.mark.parametrize(
    ("text", "value", "passes"),
    [
        ("make the lamp brighter", 60, True),
        ("dim the lamp", 40, True),
        ("mach die Lampe heller", 60, True),
        ("make the lamp brighter", 80, False),
        ("set the lamp", 60, False),
        ("make the lamp brighter by 5", 60, False),
    ],
)
def test_a_model_may_work_out_one_step_and_no_more(text: str, value: int, passes: bool) -> None:
    tool = ToolConfig("Lamp.", SPEED, publish=BRIGHTNESS, state=IN_PERCENT, step={"percent": 10})
    states = States({"lamp": tool}, Counters())
    states.take("lamp", b'{"brightness": 127}', retained=False)
    heard = hear(text, steps_said(hear(text), {"lamp": tool}, states))
    findings = Findings()
    check_values(heard, _declared("lamp", tool, {}, (), 0), {"percent": value}, findings)
    assert (not findings.problems) == passes
