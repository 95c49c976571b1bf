"""What is marked `writeOnly` is in no line, wherever the schema says so."""

from __future__ import annotations

from typing import Any

import pytest

from lineside.edge.audit.masking import has_secrets, masked

PIN = {"type": "string", "writeOnly": True}
BOTH = {"properties": {"pin": PIN, "b": {}}}
REFERRING = {
    "properties": {"a": {"$ref": "#/$defs/pin"}, "b": {"$ref": "#/$defs/b"}},
    "$defs": {"pin": PIN, "b": {}},
}


@pytest.mark.parametrize(
    ("schema", "arguments", "shown"),
    [
        ({"properties": {"door": {}, "pin": PIN}}, {"door": 1, "pin": "42"}, {"door": 1, "pin": "***"}),
        ({"properties": {"door": {}, "pin": PIN}}, {"door": 1, "code": "42"}, {"door": 1, "code": "***"}),
        ({"properties": {"a": BOTH}}, {"a": {"pin": 1, "b": 2}}, {"a": {"pin": "***", "b": 2}}),
        ({"properties": {"a": {"items": PIN}}}, {"a": [1, 2]}, {"a": ["***", "***"]}),
        ({"properties": {"a": {"prefixItems": [{}, PIN]}}}, {"a": [1, 2]}, {"a": [1, "***"]}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, PIN]}}}, {"a": "x"}, {"a": "***"}),
        (REFERRING, {"a": 1, "b": 2}, {"a": "***", "b": 2}),
        ({"properties": {"a": {"$ref": "https://elsewhere"}, "b": PIN}}, {"a": 1}, {"a": "***"}),
        ({"additionalProperties": PIN}, {"a": 1}, {"a": "***"}),
        ({"allOf": [{"properties": {"a": PIN}}, {"properties": {"a": {}}}]}, {"a": 1}, {"a": "***"}),
        ({"properties": {"a": {"$ref": "#"}, "pin": PIN}}, {"a": {"a": {"pin": 1}}}, {"a": {"a": {"pin": "***"}}}),
        ({"properties": {"a": {"$ref": "#/properties/a"}, "pin": PIN}}, {"a": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_it_is_masked(schema: dict[str, Any], arguments: dict[str, Any], shown: dict[str, Any]) -> None:
    assert has_secrets(schema)
    assert masked(schema, arguments) == shown


def test_without_a_mark_everything_is_shown() -> None:
    schema = {"properties": {"writeOnly": {"type": "boolean"}, "a": {"readOnly": True}}}
    arguments = {"writeOnly": True, "a": [1], "unknown": 2}
    assert not has_secrets(schema)
    assert masked(schema, arguments) == arguments
