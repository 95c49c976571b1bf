"""What is wrong with the conditions of a station file, for `lineside check`."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.edge.conditions import parse_condition
from lineside.edge.config import Config
from lineside.edge.tool_config import ToolConfig
from lineside.edge.topic_choice import is_plain

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def safety_problems(config: Config) -> Iterator[Problem]:
    """Every mistake of `safety`, and of `only_if` and `safety` of each tool."""
    safety = config.safety
    if safety.parked:
        yield from _condition(config, ("safety", "parked"), safety.parked)
    for name, state in safety.states.items():
        key = ("safety", "states", name)
        if name in config.tools:
            yield key, f"`{'.'.join(key)}` has the name of a tool: its state is that of `tools.{name}.state`"
        if not isinstance(state.topic, str) or not is_plain(state.topic):
            yield (
                (*key, "topic"),
                f"`{'.'.join(key)}.topic` is not one plain topic: no +, # or {{}} in it, none by value",
            )
        if state.expect is not None:
            yield (*key, "expect"), f"`{'.'.join(key)}.expect`: no call asks for this state"
    for name, tool in config.tools.items():
        yield from _tool(config, ("tools", name), tool)
    for server, settings in config.mcp.items():
        for name, tool in settings.tools.items():
            yield from _tool(config, ("mcp", server, "tools", name), tool)


def _tool(config: Config, above: tuple[str, ...], tool: ToolConfig) -> Iterator[Problem]:
    key = ".".join(above)
    if tool.only_if:
        yield from _condition(config, (*above, "only_if"), tool.only_if)
    if tool.safety == "parked" and not config.safety.parked:
        sentence = f'`{key}.safety` is "parked", and `safety.parked` does not say when: "Vehicle.Speed == 0" would'
        yield (*above, "safety"), sentence
    if tool.safety == "confirm" and not tool.confirm_s:
        sentence = f'`{key}.safety` is "confirm": say with `confirm_s` how many seconds a person has to say yes'
        yield (*above, "safety"), sentence


def _condition(config: Config, key: tuple[str, ...], text: str) -> Iterator[Problem]:
    try:
        names = parse_condition(text).names
    except ValueError as error:
        yield key, f"`{'.'.join(key)}`: {error}"
        return
    having = [name for name, tool in config.tools.items() if tool.state is not None]
    having = [name for name in having if isinstance(config.tools[name].state.topic, str)]  # type: ignore[union-attr]
    known = [*config.safety.states, *having]
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            yield (
                key,
                f"`{'.'.join(key)}`: {name} is no state; `safety.states` and tools with a fixed topic have {there}",
            )
