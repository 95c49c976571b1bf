"""Puts the tools of a vehicle into a station file as it was read, before its types are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lineside.edge.conditions import parse_condition
from lineside.edge.errors import ConfigError
from lineside.edge.vss.tools import Verb, list_problems, offered, state_table, tool_name, tool_table
from lineside.edge.vss.tree import Signal, read_signals
from lineside.edge.vss_config import VssConfig

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def add_vehicle(data: dict[str, Any], folder: Path) -> list[Problem]:
    """Adds to `tools` one for each signal that `vss` names, and to `safety.states` those that conditions name.

    What `[tools.NAME]` says goes before what is made. Nothing is done where `vss` is not there or not as it should be:
    its types are told with all others.
    """
    table = data.get("vss")
    if not isinstance(table, dict) or not table:
        return []
    try:
        vss = VssConfig(**table)
    except (ValidationError, TypeError):
        return []
    if not vss.file:
        return [(("vss", "file"), "`vss.file` is missing: name what `vspec export json` has written")]
    try:
        signals = read_signals(folder / vss.file)
    except ConfigError as error:
        return [(("vss", "file"), f"`vss.file`: {error}")]
    problems: list[Problem] = []
    lists: tuple[tuple[Verb, str, tuple[str, ...]], ...] = (
        ("set", "actuators", vss.actuators),
        ("get", "sensors", vss.sensors),
    )
    for verb, key, patterns in lists:
        problems += [(("vss", key), each) for each in list_problems(f"vss.{key}", verb, patterns, signals)]
    broker = data.get("kuksa")
    kuksa = isinstance(broker, dict) and bool(broker.get("address"))
    if vss.sensors and not (kuksa or vss.states):
        problems.append(
            (("vss", "sensors"), "`vss.sensors`: say with `vss.states` or `kuksa.address` where values come")
        )
    _add_tools(data, vss, signals, kuksa)
    _add_states(data, vss, signals, kuksa)
    return problems


def _add_tools(data: dict[str, Any], vss: VssConfig, signals: Mapping[str, Signal], kuksa: bool) -> None:
    own = data.get("tools", {})
    if not isinstance(own, dict):
        return
    made = {tool_name(verb, signal): tool_table(verb, signal, vss, kuksa) for verb, signal in offered(vss, signals)}
    for name, tool in own.items():
        made[name] = made.get(name, {}) | tool if isinstance(tool, dict) else tool
    data["tools"] = made


def _add_states(data: dict[str, Any], vss: VssConfig, signals: Mapping[str, Signal], kuksa: bool) -> None:
    safety = data.setdefault("safety", {})
    states = safety.setdefault("states", {}) if isinstance(safety, dict) else None
    if not isinstance(states, dict):
        return
    for name in _conditions(data):
        if name in signals and name not in states and (state := state_table(signals[name], vss, kuksa)) is not None:
            states[name] = state


def _conditions(data: Mapping[str, Any]) -> Iterator[str]:
    """The names in every condition that can be read."""
    tools = [tool for tool in _tables(data.get("tools")) if isinstance(tool, dict)]
    tools += [tool for server in _tables(data.get("mcp")) for tool in _tables(server.get("tools"))]
    for text in (data["safety"].get("parked"), *(tool.get("only_if") for tool in tools)):
        try:
            yield from parse_condition(text).names if isinstance(text, str) else ()
        except ValueError:
            continue


def _tables(value: Any) -> list[dict[str, Any]]:
    return [each for each in value.values() if isinstance(each, dict)] if isinstance(value, dict) else []
