"""The templates of a tool: what it publishes, how its state is read, what it expects, what a query answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lineside.edge.errors import ConfigError
from lineside.edge.templates import Render, compile_template, names_in, parts_of
from lineside.edge.tool_config import StateConfig, ToolConfig
from lineside.edge.topic_choice import chosen_by, topic_problems, topics_of, written
from lineside.runtime.text.strict_json import load_json

Read = Callable[[bytes], Any]
"""A message's state; raises one of `edge.templates.FAILURES` where the message does not say it."""
WHOLE, PARSED = "value", "value_json"
"""What a message without keys is called, and what Home Assistant calls one with keys."""
OWN, OTHERS = "state", "states"
"""What a query calls its own state, and those of other tools."""


@dataclass(frozen=True)
class Query:
    """A query's template, and the tools whose states it needs; its own among them where it has one."""

    render: Render
    needs: tuple[str, ...]


def payload_template(name: str, tool: ToolConfig) -> Render:
    """What a tool that publishes sends; raises ConfigError."""
    publish = tool.publish
    if publish is None:
        return dict
    key = f"tools.{name}.publish"
    for _, problem in topic_problems(f"{key}.topic", publish.topic, tool.parameters):
        raise ConfigError(problem)
    if publish.payload is None:
        by = chosen_by(publish.topic)
        return lambda arguments: {argument: value for argument, value in arguments.items() if argument != by}
    return compile_template(publish.payload, f"{key}.payload", set(_arguments(tool)))


def signal_template(name: str, tool: ToolConfig) -> Render:
    """What a tool sets its signal to; raises ConfigError."""
    if tool.kuksa is None:
        return dict
    known, key = set(_arguments(tool)), f"tools.{name}.kuksa"
    if tool.kuksa.value is not None:
        return compile_template(tool.kuksa.value, f"{key}.value", known)
    if len(known) != 1:
        raise ConfigError(f"`{key}.value` is missing: the tool has not one argument, so say what the signal is set to")
    only = next(iter(known))
    return lambda arguments: arguments[only]


def state_reader(name: str, state: StateConfig) -> Read:
    """What the state is, by a message of the device; raises ConfigError."""
    key = f"tools.{name}.state.value"
    if not names_in(state.value, key):
        raise ConfigError(f"`{key}` takes nothing from the message: {{{{ brightness }}}} or {{{{ value }}}} would")
    render = compile_template(state.value, key)
    return lambda payload: render(_variables(_parsed(payload)))


def expectation(name: str, tool: ToolConfig, state: StateConfig) -> Render:
    """The state that a call asks for; raises ConfigError where nothing says it."""
    known = set(_arguments(tool))
    key = f"tools.{name}.state"
    if state.expect is not None:
        return compile_template(state.expect, f"{key}.expect", known)
    used = names_in(state.value, f"{key}.value")
    if PARSED in used:
        used = used - {PARSED} | (parts_of(state.value, PARSED, f"{key}.value") or {WHOLE})
    sent = payload_template(name, tool)
    if used <= _sent_names(tool):
        value = compile_template(state.value, f"{key}.value")
        return lambda arguments: value(_variables(sent(arguments)))
    saying = known - {chosen_by(state.topic)}
    if tool.publish is not None:
        saying -= {chosen_by(tool.publish.topic)}
    if len(saying) == 1:
        only = next(iter(saying))
        return lambda arguments: arguments[only]
    raise ConfigError(
        f"`{key}.expect` is missing: {' and '.join(sorted(used))} of `{key}.value` is in nothing that a call sends, so "
        "say which state it asks for"
    )


def query_template(name: str, tools: Mapping[str, ToolConfig]) -> Query:
    """The answer to a question; raises ConfigError."""
    tool, key = tools[name], f"tools.{name}.query"
    arguments = _arguments(tool)
    for taken in {OWN, OTHERS} & set(arguments):
        raise ConfigError(f"`{key}`: {taken} means the device's state here: give the argument another name")
    used = names_in(tool.query, key)
    needs = sorted(parts_of(tool.query, OTHERS, key)) + [name] * (OWN in used)
    if OTHERS in used and needs in ([], [name]):
        raise ConfigError(f"`{key}`: write {{{{ states.NAME }}}} with the name of a tool that has a state")
    if not needs:
        raise ConfigError(f"`{key}` says nothing of a state: {{{{ state }}}} or {{{{ states.NAME }}}} would")
    for needed in needs:
        _check_reach(key, needed, tools, arguments, tool)
    return Query(compile_template(tool.query, key, {*arguments, OWN, OTHERS}), tuple(needs))


def _check_reach(
    key: str, needed: str, tools: Mapping[str, ToolConfig], arguments: Mapping[str, Any], tool: ToolConfig
) -> None:
    """Whether the query's arguments say which state of `needed` is meant."""
    other = tools.get(needed)
    if other is None or other.state is None:
        having = ", ".join(name for name, each in tools.items() if each.state is not None) or "none"
        raise ConfigError(f"`{key}`: {needed} has no `state`; tools with one: {having}")
    by = chosen_by(other.state.topic)
    if not by:
        return
    missing = f"`{key}`: the state of {needed} is chosen by {by}"
    required = tool.parameters.get("required") or ()
    if not isinstance(required, list | tuple):
        raise ConfigError(f"{missing}: write `parameters.required` of this tool as a list with {by}")
    if by not in arguments or by not in required:
        raise ConfigError(f"{missing}: this tool needs a required argument {by}, too")
    values = arguments[by].get("enum") if isinstance(arguments[by], Mapping) else None
    if not isinstance(values, list | tuple):
        raise ConfigError(f"{missing}: give {by} of this tool an `enum`, too")
    if unknown := {written(value) for value in values} - set(topics_of(other.state.topic)):
        raise ConfigError(f"{missing}, and there is none for {', '.join(sorted(unknown))}")


def _arguments(tool: ToolConfig) -> Mapping[str, Any]:
    properties = tool.parameters.get("properties", {})
    return properties if isinstance(properties, Mapping) else {}


def _sent_names(tool: ToolConfig) -> set[str]:
    """The names that `state.value` finds in what a call sends."""
    payload = tool.publish.payload if tool.publish is not None else None
    if isinstance(payload, dict):
        return set(payload)
    if payload is not None:
        return {WHOLE}
    return set(_arguments(tool)) - ({chosen_by(tool.publish.topic)} if tool.publish is not None else set())


def _parsed(payload: bytes) -> Any:
    """JSON, or the text itself."""
    text = payload.decode("utf-8")
    try:
        return load_json(text)
    except ValueError:
        return text


def _variables(message: Any) -> dict[str, Any]:
    """What a template over a message sees; a key called `value` is that key."""
    keys = message if isinstance(message, Mapping) else {}
    return {WHOLE: message, PARSED: message} | {str(key): value for key, value in keys.items()}
