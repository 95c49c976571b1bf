"""Units of what is said and of what a parameter takes, and the way from one to the other (by pint)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from lineside.runtime.commands.concepts import split_name
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.language import language, plain
from lineside.runtime.commands.numbers import Quantity

PINT = {"celsius": "degC", "fahrenheit": "degF"}
OURS = {name: unit for unit, name in PINT.items()}
TEMPERATURES = ("celsius", "fahrenheit", "degrees")
SAME = 1e-6
ROUNDED = 0.005
"""How far a converted number may be off, as a share: people round."""
WHOLE = 100.0


def unit_of(parameter: str, schema: Mapping[str, Any], declared: Declared) -> str:
    """The unit that a parameter is in: as declared, as its schema's key `unit` says, or its name, its description,
    or that of the tool; empty where none does.
    """
    given = declared.units.get(parameter) or str(schema.get("unit", ""))
    if given:
        return OURS.get(given) or _unit_in(plain(given)) or given
    words = split_name(parameter).split()
    joined = [f"{first}/{second}" for first, second in pairwise(words)]
    for text in [*joined, *reversed(words), str(schema.get("description", ""))]:
        if found := _unit_in(plain(text)):
            return found
    numeric = [name for name, one in declared.properties.items() if one.get("type") in ("number", "integer")]
    return _unit_in(plain(declared.tool.description)) if numeric == [parameter] else ""


@lru_cache(maxsize=1024)
def _unit_in(text: str) -> str:
    """The unit whose longest word stands in a text; a single letter is none unless it is all there is."""
    best = ("", 0)
    for unit, forms in language("en").units.items():
        for form in forms:
            fits = text == form if len(form) < 2 else re.search(rf"(?<![^\W_]){re.escape(form)}(?![^\W_])", text)
            if fits and len(form) > best[1]:
                best = (unit, len(form))
    return best[0]


def convertible(number: Quantity, unit: str) -> bool:
    """Whether a number may be meant for a parameter in `unit`: not `22 degrees` for percent."""
    if number.share or not number.unit or not unit or number.unit == unit:
        return True
    if number.unit in TEMPERATURES and unit in TEMPERATURES:
        return number.unit == "degrees" or unit in ("celsius", "fahrenheit") or number.unit == "celsius"
    return _factor(number.unit, unit) is not None


def agrees(number: Quantity, value: float, unit: str, schema: Mapping[str, Any]) -> bool:
    """Whether `value` is what was said, in the parameter's unit."""
    said = in_unit(number, unit, schema)
    if number.share and number.value not in (0.0, 0.25, 0.5, 0.75, 1.0):
        return abs(said - value) < 1.0
    if _same_unit(number, unit):
        return math.isclose(said, value, rel_tol=SAME, abs_tol=SAME)
    if schema.get("type") == "integer":
        return abs(said - value) <= 0.5
    return math.isclose(said, value, rel_tol=ROUNDED, abs_tol=0.05)


def in_unit(number: Quantity, unit: str, schema: Mapping[str, Any]) -> float:
    """The number in the parameter's unit; a share as so much of the parameter's range."""
    if number.share:
        least, most = schema.get("minimum", 0), schema.get("maximum", WHOLE)
        if number.value == 0.0:
            return float(least)
        if unit == "percent":
            return WHOLE * number.value
        return float(most * number.value) if least <= 0 else float(least + (most - least) * number.value)
    if _same_unit(number, unit) or not convertible(number, unit):
        return number.value
    return float(_pint().Quantity(number.value, _name(number.unit)).to(_name(unit)).magnitude)


def _same_unit(number: Quantity, unit: str) -> bool:
    if not number.unit or not unit or number.unit == unit:
        return True
    return {number.unit, unit} in ({"degrees", "celsius"}, {"degrees", "fahrenheit"})


def _name(unit: str) -> str:
    return PINT.get(unit, unit)


@lru_cache(maxsize=1)
def _pint() -> Any:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


@lru_cache(maxsize=256)
def _factor(said: str, unit: str) -> float | None:
    """What one of a unit is in the other; None where they measure different things or pint does not know one."""
    if "percent" in (said, unit) or "degrees" in (said, unit):
        return None
    import pint

    try:
        return float(_pint().Quantity(1.0, _name(said)).to(_name(unit)).magnitude)
    except (pint.errors.PintError, ValueError, AttributeError):
        return None
