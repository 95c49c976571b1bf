"""Tools with random names and parameters."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from lineside.runtime.chat import Tool

LETTERS = string.ascii_letters + string.digits + "_-"


def random_tools(rng: np.random.Generator) -> list[Tool]:
    """One to four tools; what a call of them can say is short, so that most calls come to an end."""
    return [Tool(f"{_name(rng)}_{i}", _word(rng), _object(rng, 0)) for i in range(int(rng.integers(1, 5)))]


def _object(rng: np.random.Generator, depth: int) -> dict[str, Any]:
    names = [f"{_word(rng)}{i}" for i in range(int(rng.integers(0, 4)))]
    required = [name for name in names if rng.random() < 0.6]
    return {
        "type": "object",
        "properties": {name: _schema(rng, depth + 1) for name in names},
        "required": required,
        "additionalProperties": False,
    }


def _schema(rng: np.random.Generator, depth: int) -> dict[str, Any]:
    low = int(rng.integers(-1000, 1000))
    kinds: list[dict[str, Any]] = [
        {"type": "integer", "minimum": low, "maximum": low + int(rng.integers(0, 500))},
        {"type": "number", "minimum": low / 8, "exclusiveMaximum": low / 8 + 7.5},
        {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
        {"type": "string", "minLength": int(rng.integers(0, 3)), "maxLength": int(rng.integers(3, 9))},
        {"type": "string", "pattern": "^[a-z]{1,4}-[0-9]{2}$"},
        {"type": "string", "format": "date"},
        {"enum": [_word(rng), _word(rng) + ' "é\n', low, low / 4, None, True]},
        {"const": _word(rng)},
        {"type": ["boolean", "null"]},
        {"type": "array", "items": {"enum": [1, 2.5, "drei", "四"]}, "minItems": 1, "maxItems": 3},
        {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 3}]},
    ]
    if depth < 3 and rng.random() < 0.2:
        return _object(rng, depth)
    return kinds[int(rng.integers(len(kinds)))]


def _name(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(LETTERS), size=int(rng.integers(1, 20))))


def _word(rng: np.random.Generator) -> str:
    return str(rng.choice(["speed", "gate", "größe", "a b", "色", "x", "belt_speed", 'say "hi"', "back\\slash"]))
