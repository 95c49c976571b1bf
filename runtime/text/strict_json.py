"""JSON that every parser reads alike."""

from __future__ import annotations

import json
import math
from typing import Any


def load_json(text: str) -> Any:
    """Read JSON that every parser reads alike.

    Raises:
        ValueError: not JSON, NaN, a number beyond a float's range, half a surrogate pair, nested too deeply.
    """
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is beyond a number's range")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
