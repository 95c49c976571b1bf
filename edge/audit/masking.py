"""Arguments as they may be written down: values that a tool's schema marks `writeOnly` are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MASK = "***"
MOST_DEEP = 32
EACH = ("allOf", "anyOf", "oneOf")
ONE = ("if", "then", "else")
Schema = Mapping[str, Any]


def has_secrets(schema: Schema) -> bool:
    """Whether anything below the schema of a tool's arguments is marked `writeOnly`."""
    return _marks(schema, 0)


def masked(schema: Schema, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with `***` for each value that is marked, and for each that the schema does not know, where it
    marks any: it may be the secret under another name.
    """
    if not has_secrets(schema):
        return dict(arguments)
    found = _mask(arguments, [schema], schema, 0)
    return found if isinstance(found, dict) else dict.fromkeys(arguments, MASK)


def _marks(value: Any, depth: int) -> bool:
    if depth > MOST_DEEP:
        return True
    if isinstance(value, Mapping):
        return value.get("writeOnly") is True or any(_marks(below, depth + 1) for below in value.values())
    return isinstance(value, list | tuple) and any(_marks(below, depth + 1) for below in value)


def _mask(value: Any, schemas: Sequence[Any], root: Schema, depth: int) -> Any:
    """A value that all these schemas are about. One without a schema is masked."""
    known = list(_spread(schemas, root, depth)) if depth <= MOST_DEEP else []
    if not known or any(schema.get("writeOnly") is True for schema in known):
        return MASK
    if isinstance(value, Mapping):
        return {name: _mask(item, _of_property(known, name), root, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(item, _of_item(known, at), root, depth + 1) for at, item in enumerate(value)]
    return value


def _spread(schemas: Sequence[Any], root: Schema, depth: int) -> Iterator[Schema]:
    """Each schema with those that it is put together from."""
    for schema in schemas:
        if not isinstance(schema, Mapping):
            continue
        yield schema
        if depth > MOST_DEEP:
            continue
        parts = [part for key in EACH for part in schema.get(key, ())] + [schema[key] for key in ONE if key in schema]
        if (reference := schema.get("$ref")) is not None:
            parts.append(_resolve(reference, root))
        yield from _spread(parts, root, depth + 1)


def _resolve(reference: object, root: Schema) -> Any:
    """What `#/...` points to; where it points elsewhere nobody knows, and the value is masked."""
    at: Any = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        return {"writeOnly": True}
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        at = at.get(part) if isinstance(at, Mapping) else None
    return at if isinstance(at, Mapping) else {"writeOnly": True}


def _of_property(schemas: Sequence[Schema], name: str) -> list[Any]:
    found = []
    for schema in schemas:
        properties = schema.get("properties", {})
        if name in properties:
            found.append(properties[name])
        elif isinstance(schema.get("additionalProperties"), Mapping):
            found.append(schema["additionalProperties"])
    return found


def _of_item(schemas: Sequence[Schema], at: int) -> list[Any]:
    found = []
    for schema in schemas:
        first = schema.get("prefixItems", ())
        if at < len(first):
            found.append(first[at])
        elif "items" in schema:
            found.append(schema["items"])
    return found
