"""What a schema that is taken lets through: nothing that the JSON Schema Test Suite calls invalid."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator

from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import GrammarError, GrammarTooLarge
from lineside.runtime.grammar.constraint import Constraint, Grammars
from lineside.runtime.grammar.json_schema import UnsupportedKeyword
from lineside.runtime.text.strict_json import load_json
from tests.support.random_schemas import random_schema

SUITE = Path(__file__).with_name("json_schema_test_suite")
ACCEPTED, ALL = 189, 383
"""Schemas of the suite's required part, draft 2020-12; docs/reports.md repeats the figures."""


def cases() -> Iterator[dict[str, Any]]:
    for path in sorted(SUITE.glob("*.json")):
        yield from json.loads(path.read_text(encoding="utf-8"))


def spellings(value: Any) -> list[str]:
    """Ways to write a value as compact JSON: orders of keys, escapes, 1 and 1.0."""
    if isinstance(value, bool) or value is None:
        return [json.dumps(value)]
    if isinstance(value, int | float):
        forms = {json.dumps(value)}
        if abs(value) < 10**15 and value == int(value):
            forms |= {str(int(value)), f"{int(value)}.0"}
        return sorted(forms)
    if isinstance(value, str):
        return sorted({json.dumps(value), json.dumps(value, ensure_ascii=False)})
    if isinstance(value, list):
        parts = itertools.product(*map(spellings, value))
        return ["[" + ",".join(part) + "]" for part in itertools.islice(parts, 20)]
    texts = []
    for order in itertools.islice(itertools.permutations(value.items()), 24):
        for part in itertools.islice(itertools.product(*(spellings(item) for _, item in order)), 8):
            names = (json.dumps(name, ensure_ascii=False) for name, _ in order)
            texts.append("{" + ",".join(f"{name}:{item}" for name, item in zip(names, part, strict=True)) + "}")
    return texts


def takes(engine: Engine, constraint: Constraint, text: str) -> bool:
    """True where the grammar could write exactly this text."""
    try:
        tokens = engine.tokenizer.encode_text(text).tolist()
    except UnicodeEncodeError:
        return False  # half a surrogate pair has no tokens
    return constraint.count_allowed([*tokens, engine.tokenizer.eos_id]) == len(tokens) + 1


def walk(constraint: Constraint, engine: Engine, rng: np.random.Generator, limit: int = 120) -> str | None:
    """A random text that the grammar allows; None where it does not come to an end."""
    ids: list[int] = []
    while not constraint.finished and len(ids) < limit:
        token = int(rng.choice(np.flatnonzero(constraint.mask())))
        if token == engine.tokenizer.eos_id:
            return engine.tokenizer.decode(ids)
        constraint.accept((token,))
        ids.append(token)
    return engine.tokenizer.decode(ids) if constraint.finished else None


def compiled(grammars: Grammars, schema: Any) -> bool:
    try:
        grammars.json(schema)
    except GrammarError:
        return False
    return True


def test_nothing_invalid_can_be_written(random_engine: Engine) -> None:
    grammars = random_engine.grammars
    accepted = total = right = 0
    wrong = []
    for case in cases():
        total += 1
        if not compiled(grammars, case["schema"]):
            continue
        accepted += 1
        for test in case["tests"]:
            taken = [
                text for text in spellings(test["data"]) if takes(random_engine, grammars.json(case["schema"]), text)
            ]
            right += bool(taken and test["valid"])
            if taken and not test["valid"]:
                wrong.append((case["description"], test["description"], taken[0]))
    assert wrong == []
    assert (accepted, total) == (ACCEPTED, ALL)
    assert right > 350  # and it is not that nothing at all can be written


def test_what_is_written_at_random_is_valid(random_engine: Engine) -> None:
    """Far from the suite's own instances: random walks through each grammar, judged by jsonschema."""
    rng = np.random.default_rng(5)
    finished = 0
    for case in cases():
        if not compiled(random_engine.grammars, case["schema"]):
            continue
        for _ in range(3):
            text = walk(random_engine.grammars.json(case["schema"]), random_engine, rng)
            if text is not None:
                Draft202012Validator(case["schema"]).validate(load_json(text))
                finished += 1
    assert finished > 250


def test_random_schemas_let_nothing_invalid_through(random_engine: Engine) -> None:
    """Combinations that nobody thought of."""
    rng = np.random.default_rng(7)
    accepted = finished = 0
    for _ in range(150):
        schema = random_schema(rng)
        try:
            constraint = random_engine.grammars.json(schema)
        except GrammarError:
            continue
        accepted += 1
        for _ in range(5):
            text = walk(constraint.fresh(), random_engine, rng)
            if text is not None:
                Draft202012Validator(schema).validate(load_json(text))
                finished += 1
    assert accepted > 40
    assert finished > 200


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"items": {"contains": {}}}}}, "#/properties/a/items/contains"),
        ({"properties": {"a/b~": {"not": {}}}}, "#/properties/a~1b~0/not"),
        ({"anyOf": [{"type": "null"}, {"uniqueItems": True}]}, "#/anyOf/1/uniqueItems"),
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}, "#/properties/a/pattern"),
        ({"properties": {"a": {"oneOf": [{"type": "integer"}, {"minimum": 2}]}}}, "#/properties/a/oneOf"),
        ({"properties": {"a": {"format": "iri"}}}, "#/properties/a/format"),
        ({"items": {"$ref": "#/$defs/b"}, "$defs": {"b": {"if": {}, "then": {}}}}, "#/$defs/b/if"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "#/$ref"),
        ({"$ref": "#/$defs/missing"}, "#/$ref"),
        ({"$ref": "http://example.com/other.json"}, "#/$ref"),
        ({"properties": {"a": {"$id": "http://example.com/a"}}}, "#/properties/a/$id"),
        ({"minimum": 1e300}, "#/minimum"),
        ({"const": {"a": [2**53]}}, "#/const"),
        ({"multipleOf": 0.1}, "#/multipleOf"),
        ({"enum": ["\ud800"]}, "#/enum"),
        ({"const": "nul\x00"}, "#/const"),
        ({"properties": {"\x01": {}}}, "#/properties/\x01"),
        ({"pattern": "^[^a&&b]$"}, "#/pattern"),
        ({"pattern": "[[:alpha:]]"}, "#/pattern"),
        ({"pattern": "(?x)a"}, "#/pattern"),
        ({"patternProperties": {"\\D": {}}}, "#/patternProperties/\\D"),
        ({"oneOf": [{"maximum": 0.30000000000000004}]}, "#/oneOf/0/maximum"),
        ({"$ref": "#/$defs/e/$defs/i", "$defs": {"e": {"$id": "http://x/e", "$defs": {"i": {}}}}}, "#/$ref"),
        ({"type": "object", "minProperties": 3}, "#/minProperties"),
        ({"properties": {"a": {"type": "whole"}}}, "#/properties/a/type"),
        ({"propertyNames": {"maxLength": 3}}, "#/propertyNames"),
        ({"allOf": [{}], "unevaluatedProperties": False}, "#/unevaluatedProperties"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "#/$schema"),
        ({"properties": {"a": {"madeUp": 1}}}, "#/properties/a/madeUp"),
    ],
)
def test_the_path_to_the_keyword_is_said(random_engine: Engine, schema: dict[str, Any], path: str) -> None:
    with pytest.raises(UnsupportedKeyword) as caught:
        random_engine.grammars.json(schema, "cam0.json")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"cam0.json at {path}: ")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"properties": {"percent": {"maximum": 60}}}, '{"percent":50,"perc\\u0065nt":100000}'),
        ({"properties": {"a": False}}, '{"\\u0061":1}'),
        ({"patternProperties": {"^a": {"type": "integer"}}}, '{"\\u0061":"x"}'),
        ({"properties": {"a": True}, "required": ["a"], "minProperties": 2}, '{"a":1,"\\u0061":2}'),
        ({"type": "number", "exclusiveMaximum": 1}, "0.99999999999999999999"),
        ({"type": "number", "exclusiveMinimum": 5}, "5.00000000000000000001"),
        ({"type": "number", "exclusiveMinimum": 0}, "0." + "0" * 400 + "1"),
        ({"type": "number", "exclusiveMaximum": 0}, "-0." + "0" * 400 + "1"),
        ({"type": "number", "exclusiveMaximum": 8e15}, "7999999999999999.9999"),
        ({"type": "number", "minimum": -409.40999999999997}, "-409.41"),
        ({"type": "number", "maximum": 0.9999999999999999}, "0.99999999999999999999"),
        ({"type": "number", "multipleOf": 1.5}, "5208859765671133.5"),
        ({"pattern": "^a.b$"}, '"a\\rb"'),
    ],
)
def test_there_is_no_second_way_to_write_it(random_engine: Engine, schema: Any, text: str) -> None:
    """Each of these was once taken: an escape, or digits that a float rounds away, led past the schema."""
    assert not Draft202012Validator(schema).is_valid(json.loads(text)) or "pattern" in schema
    assert not takes(random_engine, random_engine.grammars.json(schema), text)


@pytest.mark.parametrize(
    ("schema", "texts"),
    [
        ({"type": "number", "exclusiveMaximum": 1, "minimum": 0}, ["0", "0.9", "0.999999999"]),
        ({"type": "number", "exclusiveMinimum": 0}, ["0.1", "0.000000001", "12345.5"]),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, ["1", "2"]),
        ({"type": "number", "multipleOf": 1.5}, ["4.5", "-3", "0"]),
        ({"pattern": "^[a-z.]+(?:x|y).\\.$"}, ['"a.x!."']),
    ],
)
def test_what_is_narrowed_is_still_useful(random_engine: Engine, schema: Any, texts: list[str]) -> None:
    constraint = random_engine.grammars.json(schema)
    assert [text for text in texts if not takes(random_engine, constraint, text)] == []


def test_recursive_schemas_work(random_engine: Engine) -> None:
    tree = {
        "type": "object",
        "properties": {"name": {"enum": ["a", "b"]}, "parts": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
        "required": ["name"],
        "additionalProperties": False,
    }
    constraint = random_engine.grammars.json(tree)
    assert takes(random_engine, constraint, '{"name":"a","parts":[{"name":"b"},{"name":"a","parts":[]}]}')
    assert not takes(random_engine, constraint, '{"name":"a","parts":[{"name":"c"}]}')


def test_ten_thousand_values(random_engine: Engine) -> None:
    constraint = random_engine.grammars.json({"enum": [f"part {index}" for index in range(10_000)]})
    assert takes(random_engine, constraint, '"part 9999"')
    assert not takes(random_engine, constraint, '"part 10000"')
    with pytest.raises(GrammarTooLarge, match="split it up"):
        random_engine.grammars.json({"enum": [f"a longer description of part {index}" for index in range(10_000)]})


@pytest.mark.parametrize("schema", [{}, True, {"type": "number"}, {"items": {}}, {"additionalProperties": True}])
def test_numbers_are_finite_everywhere(random_engine: Engine, schema: Any) -> None:
    """1e999 is a number in JSON, and infinity where it is read."""
    for text in ("1e999", "-1E5", "[1e999]", '{"a":[1e999]}', str(10**16)):
        assert not takes(random_engine, random_engine.grammars.json(schema), text)


def test_annotations_are_taken_and_do_nothing(random_engine: Engine) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/x", "title": "X",
        "description": "", "default": 5, "examples": [1], "$comment": "", "x-unit": "mm", "deprecated": True,
        "type": "integer", "minimum": 3.0, "maximum": 5,
    }  # fmt: skip
    assert takes(random_engine, random_engine.grammars.json(schema), "4")
    assert not takes(random_engine, random_engine.grammars.json(schema), "6")
