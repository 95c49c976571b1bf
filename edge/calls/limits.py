"""Limits on arguments from the station file: a mistake there must not be a limit that does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator

from lineside.edge.errors import ConfigError

NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
TEXTS = {"minLength", "maxLength", "pattern"}
LISTS = {"minItems", "maxItems", "uniqueItems", "items", "prefixItems", "contains", "minContains", "maxContains"}
OBJECTS = {"properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"}
ANY = {"enum", "const", "not", "anyOf", "allOf", "oneOf", "type"}
FITTING = {"number": NUMBERS, "integer": NUMBERS, "string": TEXTS, "array": LISTS, "object": OBJECTS}


def check_limit(key: str, limit: Any, argument: Any) -> None:
    """Check the JSON Schema `limit` at `key` for an argument with the JSON Schema `argument`.

    Raises:
        ConfigError: not a JSON Schema, an unknown keyword, or one that says nothing about the argument's type.
    """
    try:
        Draft202012Validator.check_schema(limit)
    except SchemaError as error:
        raise ConfigError(f"`{key}` is not a JSON Schema: {error.message}") from error
    _check_keywords(key, limit, argument if isinstance(argument, Mapping) else {})


def _check_keywords(key: str, limit: Any, argument: Mapping[str, Any]) -> None:
    if not isinstance(limit, Mapping):
        return
    kinds = argument.get("type", list(FITTING))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    fitting = ANY.union(*(FITTING.get(kind, set()) for kind in kinds))
    for keyword, value in limit.items():
        if keyword not in fitting:
            known = keyword in ANY.union(*FITTING.values())
            why = f"says nothing about a {' or '.join(kinds)}" if known else "is not a keyword that can be enforced"
            raise ConfigError(f"`{key}.{keyword}`: `{keyword}` {why}; these do: {', '.join(sorted(fitting))}")
        if keyword in ("anyOf", "allOf", "oneOf"):
            for part in value:
                _check_keywords(f"{key}.{keyword}", part, argument)
        elif keyword == "not":
            _check_keywords(f"{key}.not", value, argument)
        elif keyword in ("items", "contains"):
            _check_keywords(f"{key}.{keyword}", value, argument.get("items") or {})
        elif keyword == "properties":
            for name, part in value.items():
                _check_keywords(f"{key}.properties.{name}", part, argument.get("properties", {}).get(name) or {})
