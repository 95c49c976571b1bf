"""What of Home Assistant fits a tool: by the arguments that a call needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineside.edge.integrations.home_assistant.expressions import SWITCHED_ON, VALUE, Code, literal
from lineside.edge.tool_config import ToolConfig
from lineside.edge.topic_choice import chosen_by, written

MOST_CHOICES = 24
"""Of a tool that has one component for each value of an argument."""
WIDEST = 1_000_000
"""Of a number without a range."""
UNITS = {"degC": "°C", "degF": "°F", "kelvin": "K", "percent": "%"}
TEMPERATURES = ("°C", "°F", "K")


@dataclass(frozen=True)
class Shape:
    """One component of a tool.

    Attributes:
        chosen: arguments that this component always gives, such as `{"room": "kitchen"}`.
        argument: the one that it sets; empty for a button.
        sent: that argument as an expression over what Home Assistant sets.
        values: of a switch (`ON`, `OFF`) or a select, what each stands for; empty for numbers and texts.
        options: of Home Assistant's component.
    """

    platform: str
    chosen: Mapping[str, Any]
    argument: str
    sent: Code
    values: Mapping[str, Any]
    options: Mapping[str, Any]

    def arguments(self, value: Any) -> dict[str, Any]:
        """Of a call that sets this value."""
        return {**self.chosen, **({self.argument: value} if self.argument else {})}


def shapes_of(tool: ToolConfig) -> Iterator[Shape]:
    """None where a call needs more than Home Assistant's components can say."""
    schemas = _schemas(tool)
    needed = [name for name in tool.parameters.get("required") or () if name in schemas]
    if not needed and len(schemas) == 1:
        needed = list(schemas)
    if len(needed) == 2:
        yield from _by_choice(tool, schemas, needed)
    elif len(needed) < 2 and (shape := _shape(tool, schemas, needed, {})) is not None:
        yield shape


def _by_choice(tool: ToolConfig, schemas: Mapping[str, Any], needed: list[str]) -> Iterator[Shape]:
    """One for each value of the argument that chooses the topic, or else of the first that has an `enum`."""
    topics = [each.topic for each in (tool.publish, tool.state) if each is not None]
    wanted = [*filter(None, map(chosen_by, topics)), *needed]
    chooser = next((name for name in wanted if name in needed and schemas[name].get("enum")), "")
    if not chooser or len(schemas[chooser]["enum"]) > MOST_CHOICES:
        return
    other = [name for name in needed if name != chooser]
    for value in schemas[chooser]["enum"]:
        if (shape := _shape(tool, schemas, other, {chooser: value})) is not None:
            yield shape


def _shape(tool: ToolConfig, schemas: Mapping[str, Any], needed: list[str], chosen: Mapping[str, Any]) -> Shape | None:
    if not needed:
        return Shape("button", chosen, "", VALUE, {}, {})
    name = needed[0]
    schema, kind = schemas[name], schemas[name].get("type")
    values = [True, False] if kind == "boolean" else schema.get("enum")
    if values:
        return _of_values(name, list(values), chosen)
    if kind in ("integer", "number"):
        return Shape("number", chosen, name, VALUE, {}, _number(tool, name, schema))
    if kind == "string":
        bounds = {"min": schema.get("minLength", 0), "max": min(schema.get("maxLength", 255), 255)}
        pattern = {"pattern": schema["pattern"]} if "pattern" in schema else {}
        return Shape("text", chosen, name, VALUE, {}, bounds | pattern)
    return None


def _of_values(name: str, values: list[Any], chosen: Mapping[str, Any]) -> Shape:
    by_word = {written(value).casefold(): value for value in values}
    for on, off in (("on", "off"), ("true", "false")):
        if by_word.keys() == {on, off}:
            both = {"ON": by_word[on], "OFF": by_word[off]}
            sent = Code(f"{literal(both['ON'])} if {SWITCHED_ON} else {literal(both['OFF'])}")
            return Shape("switch", chosen, name, sent, both, {})
    options = {written(value): value for value in values}
    sent = VALUE if all(isinstance(value, str) for value in values) else Code(f"{literal(options)}[value]")
    return Shape("select", chosen, name, sent, options, {"options": list(options)})


def _number(tool: ToolConfig, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Range, step and unit. Without both ends it is a field to type into: a slider would have an end of its own."""
    whole = schema.get("type") == "integer"
    least, most = _ends(schema, 1 if whole else 0.001)
    step = schema.get("multipleOf") or (1 if whole else tool.step.get(name, 0.1))
    said = tool.units.get(name) or ("percent" if name in ("percent", "percentage") else "")
    unit = UNITS.get(said, said)
    options: dict[str, Any] = {
        "min": -WIDEST if least is None else least,
        "max": WIDEST if most is None else most,
        "step": max(step, 0.001),
        "mode": "box" if least is None or most is None else "auto",
    }
    if unit:
        options["unit_of_measurement"] = unit
    return options | ({"device_class": "temperature"} if unit in TEMPERATURES else {})


def _ends(schema: Mapping[str, Any], inside: float) -> tuple[float | None, float | None]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        least = above + inside if least is None else max(least, above + inside)
    if (below := schema.get("exclusiveMaximum")) is not None:
        most = below - inside if most is None else min(most, below - inside)
    return least, most


def _schemas(tool: ToolConfig) -> dict[str, dict[str, Any]]:
    """Of the arguments, no wider than `limits` let through."""
    known = tool.parameters.get("properties", {})
    schemas = {name: dict(schema) for name, schema in known.items() if isinstance(schema, Mapping)}
    for name, limit in tool.limits.items():
        schema = schemas.setdefault(name, {})
        for key, tighter in (("minimum", max), ("maximum", min), ("exclusiveMinimum", max), ("exclusiveMaximum", min)):
            if key in limit:
                schema[key] = tighter(limit[key], schema[key]) if key in schema else limit[key]
        for key in ("enum", "maxLength", "pattern", "multipleOf"):
            if key in limit:
                schema[key] = limit[key]
    for schema in schemas.values():
        if "type" not in schema and "const" in schema:
            schema["enum"] = [schema["const"]]
    return schemas
