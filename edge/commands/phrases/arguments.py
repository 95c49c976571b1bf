"""Arguments as phrases see them: what kind each is, and whether a value that was said may be called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from jsonschema.validators import Draft202012Validator

from lineside.edge.errors import RequestError
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.commands.language import language, recognise


class Refusal(RequestError):
    """Raised where a phrase may not be carried out: `sentence` is the key of what is said, with `values` in it."""

    def __init__(self, code: str, sentence: str, **values: str) -> None:
        super().__init__(code, language("en").refusal(sentence, **values))
        self._sentence, self._values = sentence, values

    def told(self, text: str) -> RequestError:
        """The same in the language of a command."""
        return RequestError(self.code, recognise(text).refusal(self._sentence, **self._values))


Kind = Literal["choice", "number", "text"]
COMPARISONS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("minimum", "below", lambda value, bound: value < bound),
    ("maximum", "above", lambda value, bound: value > bound),
    ("exclusiveMinimum", "not_above", lambda value, bound: value <= bound),
    ("exclusiveMaximum", "not_below", lambda value, bound: value >= bound),
)


@dataclass(frozen=True)
class Argument:
    """One parameter of a tool. `choices` are the values that it may have, by the text that stands for each."""

    name: str
    kind: Kind
    schema: Mapping[str, Any]
    choices: Mapping[str, Any]

    @property
    def is_flag(self) -> bool:
        return self.schema.get("type") == "boolean"


def arguments_of(tool: ToolConfig) -> dict[str, Argument]:
    """The parameters that a slot can have; a list or an object can have none."""
    found = {}
    properties = tool.parameters.get("properties", {})
    for name, schema in properties.items() if isinstance(properties, Mapping) else ():
        if isinstance(schema, Mapping) and (argument := _argument(name, schema)) is not None:
            found[name] = argument
    return found


def _argument(name: str, schema: Mapping[str, Any]) -> Argument | None:
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if values is None and "boolean" in kinds:
        values = [True, False]
    if values is not None:
        return Argument(name, "choice", schema, {text_of(value): value for value in values})
    if "integer" in kinds or "number" in kinds:
        return Argument(name, "number", schema, {})
    return Argument(name, "text", schema, {}) if "string" in kinds else None


def text_of(value: Any) -> str:
    """As a value is written as a key of `words`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def number_said(argument: Argument, said: float, convert: Conversion | None) -> int | float:
    """In the argument's own unit.

    Raises:
        RequestError: a whole number is asked for.
    """
    whole = "number" not in _kinds(argument)
    value = round(convert.apply(said), 0 if whole else 1) if convert is not None else said
    if float(value).is_integer() and (whole or convert is None):
        return int(value)
    if whole:
        raise Refusal("out_of_range", "not_whole", value=f"{value:.12g}", parameter=argument.name)
    return float(value)


def check_value(argument: Argument, value: Any, limit: Mapping[str, Any]) -> None:
    """Raises RequestError, `out_of_range` or `over_limit`, where the value may not be called with."""
    for schema, code in ((argument.schema, "out_of_range"), (limit, "over_limit")):
        if isinstance(value, int | float) and not isinstance(value, bool):
            for keyword, relation, is_outside in COMPARISONS:
                if keyword in schema and is_outside(value, schema[keyword]):
                    bound = f"{schema[keyword]:.12g}"
                    raise Refusal(code, relation, value=f"{value:.12g}", limit=bound, parameter=argument.name)
        error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
        if error is not None:
            raise Refusal(code, "bad_value", parameter=argument.name, reason=error.message[:200])


def is_valid(argument: Argument, value: Any) -> bool:
    """Whether the value satisfies the tool's own schema."""
    return bool(Draft202012Validator(argument.schema).is_valid(value))


def _kinds(argument: Argument) -> list[Any]:
    kinds = argument.schema.get("type")
    return kinds if isinstance(kinds, list) else [kinds]


@dataclass(frozen=True)
class Conversion:
    """From the unit that was said into the argument's own."""

    said: str
    own: str
    factor: float
    offset: float

    def apply(self, value: float) -> float:
        return value * self.factor + self.offset


@cache
def conversion(said: str, own: str) -> Conversion:
    """Raises ValueError where there is no such unit, or the two measure different things."""
    from pint.errors import PintError

    try:
        zero, hundred = (_units().Quantity(float(value), said).to(own).magnitude for value in (0, 100))
    except (PintError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return Conversion(said, own, (hundred - zero) / 100, zero)


@cache
def _units() -> Any:
    """Made once: it takes half a second."""
    from pint import UnitRegistry

    return UnitRegistry(autoconvert_offset_to_baseunit=True)
