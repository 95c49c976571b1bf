"""What may stand at each key of a file, by the JSON Schema of its dataclasses, and how that is said in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

Path = tuple[str | int, ...]
"""Keys, and the places in lists, from 0."""
Schema = Mapping[str, Any]
_ONE = {"string": "a text", "integer": "an integer", "number": "a number", "boolean": "true or false"}
_MANY = {"string": "texts", "integer": "integers", "number": "numbers", "object": "tables"}


class FileSchema:
    """Of one kind of file.

    Args:
        hidden: keys at the top that no file may have.
    """

    def __init__(self, adapter: TypeAdapter[Any], hidden: Sequence[str] = ()) -> None:
        self._root: Schema = adapter.json_schema()
        self._hidden = frozenset(hidden)

    def at(self, path: Path) -> list[Schema]:
        """Each way to write what stands there; none where nothing may."""
        ways = list(self._ways(self._root))
        for part in path:
            ways = [inner for way in ways for below in _below(way, part) for inner in self._ways(below)]
        return ways

    def keys(self, path: Path) -> list[str]:
        """Those of a table; none where it takes any."""
        found = [key for way in self.at(path) for key in way.get("properties", ())]
        return [key for key in found if path or key not in self._hidden]

    def is_needed(self, path: Path) -> bool:
        """Whether its table cannot do without it."""
        return any(path[-1] in way.get("required", ()) for way in self.at(path[:-1]))

    def is_secret(self, path: Path) -> bool:
        """Whether a secret stands there, or below it."""
        return any("writeOnly" in json.dumps(way) for way in self.at(path))

    def is_text(self, path: Path) -> bool:
        """Whether a text of the user's own may stand there."""
        return any(way.get("type") == "string" and not _values(way) for way in self.at(path))

    def is_word(self, path: Path) -> bool:
        """Whether one of a few words belongs there, or a number, or `true` or `false`."""
        kinds = {way.get("type") for way in self.at(path)}
        return bool(self.choices(path)) or bool(kinds & {"integer", "number", "boolean"})

    def words(self, path: Path) -> str:
        """What belongs there: `an integer from 1 to 65535`."""
        return self._said(self.at(path))

    def choices(self, path: Path) -> list[str | int]:
        """The values that are allowed, where they are listed; of a list, those of each entry."""
        ways = self.at(path)
        ways = [*ways, *(inner for way in ways if "items" in way for inner in self._ways(way["items"]))]
        return list(dict.fromkeys(value for way in ways for value in _values(way)))

    def some(self, path: Path) -> Any:
        """A value that can stand there, so that the rest of the file can be read."""
        ways = self.at(path)
        return "-" if self.is_text(path) else self._some(ways[0]) if ways else None

    def _some(self, way: Schema) -> Any:
        if values := _values(way):
            return values[0]
        if way.get("type") in ("integer", "number"):
            return way.get("minimum", 1)
        if way.get("type") == "array":
            return [self._some(next(self._ways(way["items"])))] * way.get("minItems", 0)
        return "-" if way.get("type") == "string" else {}

    def _ways(self, schema: Any) -> Iterator[Schema]:
        """Without references and alternatives; a key that may be left out is no `null` in TOML."""
        if "$ref" in schema:
            yield from self._ways(self._root["$defs"][schema["$ref"].rpartition("/")[2]])
        elif "anyOf" in schema:
            for option in schema["anyOf"]:
                yield from self._ways({"description": schema["description"], **option} if _about(schema) else option)
        elif schema.get("type") != "null":
            yield schema

    def _said(self, ways: Sequence[Schema]) -> str:
        said: list[str] = []
        for way in ways:
            items = list(self._ways(way.get("items", {}))) if way.get("type") == "array" else []
            same = bool(items) and bool(_values(items[0])) and _values(items[0]) in [_values(each) for each in ways]
            said.append("a list of them" if same else self._one(way, items))
        said = list(dict.fromkeys(said)) or ["another value"]
        return ", or ".join(said) if any(" or " in each for each in said) else _alternatives(said)

    def _one(self, way: Schema, items: Sequence[Schema]) -> str:
        if _about(way):
            return str(way["description"])
        if values := _values(way):
            return _alternatives([json.dumps(value, ensure_ascii=False) for value in values])
        kind = way.get("type", "")
        if kind == "array":
            return self._list(way, items)
        if kind == "string":
            return "a text that is not empty" if way.get("minLength") else "a text"
        return _ONE.get(kind, "a table") + _bounds(way)

    def _list(self, way: Schema, items: Sequence[Schema]) -> str:
        entry = way["prefixItems"][0] if way.get("prefixItems") else items[0] if items else {}
        many = self._one(entry, []) if _values(entry) else _MANY.get(entry.get("type", ""), "values")
        if len(items) > 1:
            many = "texts or tables"
        low, high = way.get("minItems", 0), way.get("maxItems")
        count = str(low) if low == high else f"{low} to {high}" if high else f"{low} or more" if low else ""
        return f"a list of {count} {many}" if count else f"a list of {many}"


def _about(schema: Schema) -> bool:
    """A class's docstring describes it for readers of its code; the words of a key are for all."""
    return "description" in schema and "properties" not in schema


def _below(way: Schema, part: str | int) -> Iterator[Any]:
    if isinstance(part, int):
        several = way.get("prefixItems", ())
        if part < len(several):
            yield several[part]
        elif "items" in way:
            yield way["items"]
    elif part in way.get("properties", {}):
        yield way["properties"][part]
    elif isinstance(way.get("additionalProperties"), Mapping):
        yield way["additionalProperties"]


def _values(way: Schema) -> list[str | int]:
    return [way["const"]] if "const" in way else list(way.get("enum", ()))


def _bounds(way: Schema) -> str:
    low, high = way.get("minimum"), way.get("maximum")
    above = way.get("exclusiveMinimum")
    if above is not None:
        return f" above {above:g}" + (f" and at most {high:.10g}" if high is not None else "")
    if low is not None and high is not None:
        return f" from {low:g} to {high:.10g}"
    return f" of {low:g} or more" if low is not None else ""


def _alternatives(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
