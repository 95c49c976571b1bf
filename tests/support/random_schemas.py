"""Random JSON Schemas, most of which make some sense."""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = ("a", "b", "c", "ab")
COMBINATORS = ("anyOf", "allOf", "oneOf")


def random_schema(rng: np.random.Generator, depth: int = 3) -> dict[str, Any]:
    """A schema with one definition, which parts of it refer to."""
    schema = _node(rng, depth)
    root: dict[str, Any] = schema if isinstance(schema, dict) else {"allOf": [schema]}
    return {**root, "$defs": {"other": _node(rng, 1)}}


def _node(rng: np.random.Generator, depth: int) -> Any:
    if depth == 0 or rng.random() < 0.25:
        return _leaf(rng)
    kind = int(rng.integers(3))
    if kind == 0:
        return _object(rng, depth)
    if kind == 1:
        return _array(rng, depth)
    parts = [_node(rng, depth - 1) for _ in range(int(rng.integers(1, 4)))]
    schema: dict[str, Any] = {str(rng.choice(COMBINATORS)): parts}
    beside = _leaf(rng)
    if isinstance(beside, dict) and rng.random() < 0.3:
        schema |= beside
    if rng.random() < 0.3:
        schema["$ref"] = "#/$defs/other"
    return schema


def _object(rng: np.random.Generator, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {name: _node(rng, depth - 1) for name in NAMES if rng.random() < 0.5}}
    for share, keyword, value in (
        (0.7, "type", "object"),
        (0.5, "required", [name for name in NAMES if rng.random() < 0.3]),
        (0.4, "additionalProperties", _node(rng, depth - 1) if rng.random() < 0.5 else False),
        (0.3, "patternProperties", {"^x": _node(rng, depth - 1)}),
        (0.2, "minProperties", int(rng.integers(0, 3))),
        (0.2, "maxProperties", int(rng.integers(0, 4))),
        (0.2, "unevaluatedProperties", False),
        (0.2, "allOf", [_node(rng, depth - 1)]),
    ):
        if rng.random() < share:
            schema[keyword] = value
    return schema


def _array(rng: np.random.Generator, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for share, keyword, value in (
        (0.7, "type", "array"),
        (0.7, "items", _node(rng, depth - 1)),
        (0.4, "prefixItems", [_node(rng, depth - 1) for _ in range(2)]),
        (0.4, "minItems", int(rng.integers(0, 3))),
        (0.4, "maxItems", int(rng.integers(0, 4))),
        (0.2, "unevaluatedItems", False),
    ):
        if rng.random() < share:
            schema[keyword] = value
    return schema


def _leaf(rng: np.random.Generator) -> Any:
    low = int(rng.integers(-5, 5))
    leaves: list[Any] = [
        {"type": "integer"}, {"minimum": low}, {"maximum": low}, {"exclusiveMinimum": low, "type": "number"},
        {"type": "string"}, {"maxLength": 2}, {"minLength": 1, "type": "string"}, {"pattern": "^a"}, {"pattern": "b"},
        {"enum": [1, "a", None]}, {"enum": [1.0, 2, "b"]}, {"const": {"a": 1}}, {"type": ["null", "boolean"]},
        {"multipleOf": 2}, {"multipleOf": 0.5}, {"format": "date"}, {}, True, False,
    ]  # fmt: skip
    return leaves[int(rng.integers(len(leaves)))]
