"""A tool for each signal that the station file names: `set_...` for an actuator, `get_...` for what may be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from lineside.edge.topic_choice import KUKSA
from lineside.edge.vss.tree import WHOLE, Signal, matching
from lineside.edge.vss_config import VssConfig

VALUE = "value"
"""The one argument of a tool that sets a signal."""
Verb = Literal["set", "get"]
UNITS = {
    "celsius": "degC",
    "fahrenheit": "degF",
    "km/h": "km/h",
    "m/s": "meter/second",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "km": "kilometer",
    "kPa": "kilopascal",
    "bar": "bar",
    "s": "second",
    "min": "minute",
    "h": "hour",
}
"""VSS's name of a unit -> pint's; of others no conversion is made."""
SIGNS = {"celsius": "°C", "fahrenheit": "°F", "percent": "%", "degrees": "°"}
STEPS = {"percent": 10.0, "celsius": 1.0, "fahrenheit": 2.0, "km/h": 5.0, "degrees": 5.0, "mm": 10.0}
"""How much "a bit more" is, by VSS's name of the unit."""
LONGEST_NAME = 64
NO_BRACES = str.maketrans("{}", "()")
"""A description is a text, and no template."""


def offered(vss: VssConfig, signals: Mapping[str, Signal]) -> Iterator[tuple[Verb, Signal]]:
    """What the station file names, each once."""
    seen = set()
    for verb, patterns in (("set", vss.actuators), ("get", vss.sensors)):
        for pattern in patterns:
            for signal in _named(verb, pattern, signals):
                if problem_of(verb, signal) or (verb, signal.path) in seen:
                    continue
                seen.add((verb, signal.path))
                yield ("set" if verb == "set" else "get"), signal


def _named(verb: str, pattern: str, signals: Mapping[str, Signal]) -> Sequence[Signal]:
    """With wildcards `actuators` names actuators alone, and `sensors` all others."""
    found = matching(pattern, signals)
    if "*" not in pattern:
        return found
    return [signal for signal in found if (signal.kind == "actuator") == (verb == "set")]


def list_problems(key: str, verb: Verb, patterns: Sequence[str], signals: Mapping[str, Signal]) -> Iterator[str]:
    """What is wrong with `vss.actuators` or `vss.sensors`."""
    for pattern in patterns:
        named = _named(verb, pattern, signals)
        if not named:
            can = "set" if verb == "set" else "asked for"
            yield f"`{key}`: {pattern} names no signal of the file that can be {can}"
        for signal in named:
            if "*" not in pattern and (problem := problem_of(verb, signal)):
                yield f"`{key}`: {problem}"


def problem_of(verb: str, signal: Signal) -> str:
    """Why there is no tool for a signal; empty where there is one."""
    if verb == "set" and signal.kind != "actuator":
        return f"{signal.path} is no actuator, and cannot be set: name it in `vss.sensors`"
    if not (signal.is_number or signal.datatype in ("boolean", "string")):
        return f"{signal.path} is of type {signal.datatype}: a tool takes one number, text or truth"
    if len(tool_name("set" if verb == "set" else "get", signal)) > LONGEST_NAME:
        return f"{signal.path} makes a name of more than {LONGEST_NAME} characters: write its tool by hand"
    return ""


def tool_name(verb: Verb, signal: Signal) -> str:
    return f"{verb}_{signal.short.replace('.', '_')}"


def tool_table(verb: Verb, signal: Signal, vss: VssConfig, kuksa: bool) -> dict[str, Any]:
    """The tool as a table of the station file."""
    return _setting(signal, vss, kuksa) if verb == "set" else _asking(signal, vss, kuksa)


def state_table(signal: Signal, vss: VssConfig, kuksa: bool) -> dict[str, Any] | None:
    """Where the signal's value comes; None where the station file does not say it."""
    topic = f"{KUKSA}{signal.path}" if kuksa else f"{vss.states}/{signal.short.replace('.', '/')}" if vss.states else ""
    said = {value: spoken for spoken, value in choices(signal).items()}
    value = f"{{{{ {json.dumps(said)}[value] }}}}" if said else "{{ value }}"
    return {"topic": topic, "value": value} if topic else None


def choices(signal: Signal) -> dict[str, str]:
    """How each allowed value is called by the tool -> the value: `rain sensor` for RAIN_SENSOR."""
    spoken = {value.lower().replace("_", " "): value for value in signal.allowed}
    return spoken if len(spoken) == len(signal.allowed) else {value: value for value in signal.allowed}


def schema_of(signal: Signal) -> dict[str, Any]:
    """JSON Schema of the value."""
    if signal.allowed:
        return {"enum": list(choices(signal))}
    if not signal.is_number:
        return {"type": signal.datatype}
    least, most = WHOLE.get(signal.datatype) or (None, None)
    bounds = {
        "minimum": signal.minimum if signal.minimum is not None else least,
        "maximum": signal.maximum if signal.maximum is not None else most,
    }
    kind = "integer" if signal.datatype in WHOLE else "number"
    return {"type": kind} | {keyword: bound for keyword, bound in bounds.items() if bound is not None}


def _setting(signal: Signal, vss: VssConfig, kuksa: bool) -> dict[str, Any]:
    schema, said = schema_of(signal), choices(signal)
    told = f"{{{{ {json.dumps(said)}[value] }}}}" if said else "{{ value }}"
    table: dict[str, Any] = {
        "description": f"Set: {_described(signal)}.",
        "parameters": {
            "type": "object",
            "required": [VALUE],
            "additionalProperties": False,
            "properties": {VALUE: schema},
        },
    }
    if kuksa:
        table["kuksa"] = {"signal": signal.path, "value": told}
    elif vss.publish:
        table["publish"] = {"topic": f"{vss.publish}/{signal.short.replace('.', '/')}", "payload": {VALUE: told}}
    if (state := state_table(signal, vss, kuksa)) is not None:
        table["state"] = state | {"expect": "{{ value }}"}
    if signal.is_number and signal.unit in UNITS:
        table["units"] = {VALUE: UNITS[signal.unit]}
    if signal.is_number and signal.unit in STEPS:
        table["step"] = {VALUE: STEPS[signal.unit]}
    return table


def _asking(signal: Signal, vss: VssConfig, kuksa: bool) -> dict[str, Any]:
    unit = SIGNS.get(signal.unit, signal.unit)
    value = "{{ 'yes' if state else 'no' }}" if signal.datatype == "boolean" else f"{{{{ state }}}} {unit}".strip()
    said = (signal.description or signal.short).translate(NO_BRACES)
    query = f"{said}: {value}."
    table: dict[str, Any] = {"description": f"Say: {_described(signal)}.", "query": query}
    if (state := state_table(signal, vss, kuksa)) is not None:
        table["state"] = state
    return table


def _described(signal: Signal) -> str:
    text = signal.description or signal.short.replace(".", " ")
    return f"{text} in {signal.unit}" if signal.unit else text
