"""A bit more and a bit less: one declared step from where the device is known to be, and never from a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from lineside.edge.calls.states import States
from lineside.edge.calls.watch import shown
from lineside.edge.errors import RequestError
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.heard import Heard

RELATIVE = frozenset({"up", "down", "brighten", "dim", "fast", "slow", "high", "low"})
"""Concepts of `runtime.commands.concepts` that ask for more or less."""


def stepped(
    wanted: Literal["more", "less"], last: ToolCall, tools: Mapping[str, ToolConfig], states: States
) -> ToolCall:
    """The last call with the argument of its tool's `step` one step further; its id is not yet one.

    Raises:
        RequestError: no step is declared, it is not known where the device is, or there is no more of it.
    """
    tool = tools[last.name]
    if not tool.step or not tool.step.keys() <= last.arguments.keys():
        raise RequestError("no_step", f"{last.name} was called last, and has no `step`: say a value")
    ((argument, step),) = tool.step.items()
    now = _now(last, argument, tool, states)
    schema = tool.parameters["properties"][argument]
    value = now + (step if wanted == "more" else -step)
    value = max(min(value, schema.get("maximum", value)), schema.get("minimum", value))
    if value == now:
        raise RequestError("no_more", f"{argument} of {last.name} is {now:g} already: it goes no further")
    whole = schema.get("type") == "integer" or float(value).is_integer()
    return replace(last, id="", arguments={**last.arguments, argument: round(value) if whole else round(value, 6)})


def steps_said(heard: Heard, tools: Mapping[str, ToolConfig], states: States) -> list[str]:
    """Values that count as said where a sentence asks for more or less, and names no number: one step from each state.

    So a model may work out "brighter" from the states that it is shown, and nothing beyond a step.
    """
    if heard.numbers or not heard.concepts & RELATIVE:
        return []
    near = []
    for name, tool in tools.items():
        for argument, step in tool.step.items():
            for value in states.values_of(name, argument):
                near += [f"{value + step:g}", f"{value - step:g}"]
    return [" ; ".join(near)] if near else []


def _now(last: ToolCall, argument: str, tool: ToolConfig, states: States) -> float:
    """Where the device is, in the argument's unit: what was asked for last where it is still so, or what it says."""
    asked: Any = last.arguments[argument]
    if tool.state is None:
        return float(asked)
    state = states.known(last.name, last.arguments)
    if state is None:
        raise RequestError("state_unknown", f"where {last.name} stands is not known: say a value")
    if states.is_asked(last, state.value):
        return float(asked)
    if isinstance(state.value, int | float) and states.is_asked(_with(last, argument, state.value), state.value):
        return float(state.value)
    raise RequestError(
        "state_differs", f"{last.name} is {shown(state.value)} and not what was asked for last: say a value"
    )


def _with(call: ToolCall, argument: str, value: Any) -> ToolCall:
    return replace(call, arguments={**call.arguments, argument: value})
