"""A user's JSON Schema (draft 2020-12) made ready for the grammar engine, or refused with the path to the keyword.

What is accepted is enforced in full; a keyword that the grammar engine would not enforce is never passed over. Two
things are narrowed, so that whatever is generated can be read by any JSON parser: numbers keep within +-(2**53 - 1)
(RFC 7493) and are written without an exponent, also where the schema leaves the value open.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any
from urllib.parse import unquote

from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator

from lineside.runtime.errors import GrammarError, GrammarTooLarge
from lineside.runtime.grammar.portable_pattern import NotPortable, portable

Schema = Mapping[str, Any] | bool

MAX_SCHEMA_BYTES = 256 * 1024
MAX_NUMBER = 2**53 - 1
MAX_FRACTION_BITS = 20
SURE_DIGITS = 15
"""Decimal numbers of so many digits are floats of their own."""
MAX_DECIMALS = 9
ANYTHING = {"$ref": "#/$defs/anything"}
"""Any JSON value whose numbers are bounded."""
_NUMBER = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
_ANYTHING = {
    "anyOf": [
        {"type": ["string", "boolean", "null"]},
        _NUMBER,
        {"type": "array", "items": ANYTHING},
        {"type": "object", "additionalProperties": ANYTHING},
    ]
}

DIALECTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
)
IGNORED = {
    "$schema", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "contentMediaType", "contentEncoding", "contentSchema", "unit",
}  # fmt: skip
"""Annotations, and places where a `$ref` finds its schema."""
COPIED = {"type", "minLength", "maxLength", "format", "minItems", "maxItems", "maxProperties", "required"}
LIMITS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
COMBINATORS = {"$ref", "anyOf", "oneOf", "allOf"}


class UnsupportedKeyword(GrammarError):
    """`path` is the JSON pointer to the keyword, as a URI fragment."""

    code = "schema_unsupported"

    def __init__(self, path: str, problem: str, subject: str = "the schema") -> None:
        super().__init__(f"{subject} at {path}: {problem}")
        self.path, self.problem = path, problem


class Lowered:
    """What the grammar engine is given.

    Attributes:
        schema: draft 2020-12 with the keywords that the engine enforces, every `$ref` to a definition of its own.
        parts: path and lowered form of every subschema, the innermost first: where the engine refuses the whole, one
            finds the culprit by handing it the parts.
    """

    def __init__(self, schema: dict[str, Any], parts: list[tuple[str, dict[str, Any]]]) -> None:
        self.schema, self.parts = schema, parts

    def part(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """A subschema that stands on its own."""
        return {**node, "$defs": self.schema["$defs"]}


def lower(schema: Schema, subject: str = "the schema") -> Lowered:
    """Check a schema and rewrite it; `subject` begins the messages of its errors.

    Raises:
        UnsupportedKeyword: a keyword, or a use of it, that cannot be enforced.
        GrammarTooLarge: more than `MAX_SCHEMA_BYTES`, or nested too deeply.
        GrammarError: the schema is not JSON.
    """
    _check_size(schema, subject)
    try:
        with warnings.catch_warnings():  # about patterns that `portable_pattern` refuses anyhow
            warnings.simplefilter("ignore", FutureWarning)
            Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UnsupportedKeyword(
            _pointer(error.absolute_path), f"not a JSON Schema: {error.message}", subject
        ) from error
    lowering = _Lowering(schema)
    try:
        root = lowering.subschema(schema, "#", open_=False)
    except UnsupportedKeyword as error:
        raise UnsupportedKeyword(error.path, error.problem, subject) from None
    except RecursionError:
        raise GrammarTooLarge(f"{subject} is nested too deeply") from None
    return Lowered({**(root if isinstance(root, dict) else {"anyOf": []}), "$defs": lowering.defs}, lowering.parts)


def _check_size(schema: Any, subject: str) -> None:
    try:
        size = len(json.dumps(schema, allow_nan=False))
    except RecursionError:
        raise GrammarTooLarge(f"{subject} is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise GrammarError(f"{subject} is not JSON: {error}") from error
    if size > MAX_SCHEMA_BYTES:
        raise GrammarTooLarge(f"{subject} has {size} bytes, at most {MAX_SCHEMA_BYTES} are taken: split it up")


class _Lowering:
    """One schema on its way. `defs` fills with the targets of the references that are met."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._names: dict[str, str] = {}
        self.defs: dict[str, Any] = {"anything": _ANYTHING}
        self.parts: list[tuple[str, dict[str, Any]]] = []
        self._handlers: dict[str, Callable[[Any, str, Mapping[str, Any]], dict[str, Any]]] = {
            "$ref": self._ref,
            "$id": _id,
            "enum": _values,
            "const": _values,
            "multipleOf": _multiple_of,
            "minProperties": _min_properties,
            "items": self._one("items"),
            "additionalProperties": self._one("additionalProperties"),
            "prefixItems": self._list("prefixItems"),
            "anyOf": self._list("anyOf"),
            "oneOf": self._list("oneOf"),
            "properties": self._map("properties"),
            "patternProperties": self._patterns,
            "allOf": self._all_of,
            "unevaluatedProperties": self._unevaluated,
            "unevaluatedItems": self._unevaluated,
            "propertyNames": _only_true,
        }

    def subschema(self, node: Schema, path: str, *, open_: bool) -> dict[str, Any] | bool:
        """`open_` leaves out what narrows the values that the node says nothing about: another part of an
        intersection does that.
        """
        if isinstance(node, bool):
            return (True if open_ else dict(ANYTHING)) if node else False
        out: dict[str, Any] = {}
        for key, value in node.items():
            out |= self._keyword(key, value, f"{path}/{_escape(key)}", node)
        _keep_exact(out)
        if not open_ and not COMBINATORS & out.keys() and not {"enum", "const"} & out.keys():
            _close(out)
        self.parts.append((path, out))
        return out

    def _keyword(self, key: str, value: Any, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
        if key == "$schema" and str(value).rstrip("#") not in DIALECTS:
            raise UnsupportedKeyword(path, f"{value!r} is not a draft that is known; draft 2020-12 is")
        if key in IGNORED or key.startswith("x-"):
            return {}
        if key in LIMITS:
            return self._limit(key, value, path)
        if key == "pattern":
            return {key: _portable(value, path)}
        if key in COPIED:
            return {key: int(value) if isinstance(value, float) else value}
        if key in self._handlers:
            return self._handlers[key](value, path, node)
        if _without_effect(key, node):
            return {}
        raise UnsupportedKeyword(path, f"`{key}` is not supported")

    def _limit(self, key: str, value: float, path: str) -> dict[str, Any]:
        """A bound with more digits than a float can tell apart is moved inward, by less than anybody measures."""
        _check_number(value, path)
        digits = Decimal(repr(value)).as_tuple().digits
        if len(digits) <= SURE_DIGITS or isinstance(value, int):
            return {key: value}
        if "/oneOf/" in path:
            raise UnsupportedKeyword(path, f"within `oneOf`, {value} cannot be told apart from its neighbours")
        return {key: _inward(value, low=key.endswith("inimum"))}

    def _one(self, key: str) -> Callable[[Any, str, Mapping[str, Any]], dict[str, Any]]:
        return lambda value, path, _node: {key: self.subschema(value, path, open_=False)}

    def _list(self, key: str) -> Callable[[Any, str, Mapping[str, Any]], dict[str, Any]]:
        return lambda value, path, _node: {
            key: [self.subschema(item, f"{path}/{index}", open_=False) for index, item in enumerate(value)]
        }

    def _map(self, key: str) -> Callable[[Any, str, Mapping[str, Any]], dict[str, Any]]:
        def lower_map(value: Mapping[str, Schema], path: str, _node: Mapping[str, Any]) -> dict[str, Any]:
            for name in value:
                _check_text(json.dumps(name, ensure_ascii=False), f"{path}/{_escape(name)}")
            return {
                key: {
                    name: self.subschema(item, f"{path}/{_escape(name)}", open_=False) for name, item in value.items()
                }
            }

        return lower_map

    def _patterns(self, value: Mapping[str, Schema], path: str, node: Mapping[str, Any]) -> dict[str, Any]:
        for pattern in value:
            _portable(pattern, f"{path}/{_escape(pattern)}")
        lowered: dict[str, Any] = self._map("patternProperties")(value, path, node)["patternProperties"]
        return {"patternProperties": {_portable(pattern, path): item for pattern, item in lowered.items()}}

    def _all_of(self, value: list[Schema], path: str, node: Mapping[str, Any]) -> dict[str, Any]:
        """One part of an intersection is narrowed: a reference, which always is, or else the first."""
        closed = 0 if "$ref" not in node else -1
        for index, item in enumerate(value):
            if closed == 0 and isinstance(item, Mapping) and "$ref" in item:
                closed = index
                break
        items = [self.subschema(item, f"{path}/{i}", open_=i != closed) for i, item in enumerate(value)]
        return {"allOf": items}

    def _unevaluated(self, value: Schema, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
        """Without in-place applicators it means what `additionalProperties` or `items` means."""
        if value is True:
            return {}
        key = "additionalProperties" if path.endswith("Properties") else "items"
        if COMBINATORS & node.keys():
            keyword = path.rpartition("/")[2]
            raise UnsupportedKeyword(path, f"`{keyword}` beside `$ref`, `anyOf`, `oneOf` or `allOf` is not supported")
        return {} if key in node else {key: self.subschema(value, path, open_=False)}

    def _ref(self, value: str, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
        """Every target becomes a definition of its own, lowered when it is first met."""
        del node
        target = self._resolve(value, path)
        seen = {value}
        while isinstance(target, Mapping) and "$ref" in target:
            if target["$ref"] in seen:
                raise UnsupportedKeyword(path, f"{value!r} refers to itself in a circle and never says what is meant")
            seen.add(target["$ref"])
            target = self._resolve(target["$ref"], path)
        if value not in self._names:
            name = self._names[value] = f"ref{len(self._names)}"
            self.defs[name] = self.subschema(self._resolve(value, path), value, open_=False)
        return {"$ref": f"#/$defs/{self._names[value]}"}

    def _resolve(self, reference: str, path: str) -> Schema:
        if reference != "#" and not reference.startswith("#/"):
            raise UnsupportedKeyword(path, f"{reference!r}: only references within the schema (#/...) are supported")
        node: Any = self._root
        for part in unquote(reference).split("/")[1:]:
            if node is not self._root and isinstance(node, Mapping) and "$id" in node:
                raise UnsupportedKeyword(path, f"{reference!r} leads into a part with an `$id` of its own")
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(key)] if isinstance(node, list) else node[key]  # type: ignore[index]
            except (KeyError, IndexError, TypeError, ValueError):
                raise UnsupportedKeyword(path, f"{reference!r} points to nothing") from None
        if not isinstance(node, Mapping | bool):
            raise UnsupportedKeyword(path, f"{reference!r} does not point to a schema")
        return node


def _close(out: dict[str, Any]) -> None:
    """Bound what a schema without combinators leaves open: numbers, items, further properties."""
    kinds = out.get("type")
    allowed = {kinds} if isinstance(kinds, str) else set(kinds or ("number", "array", "object", "string"))
    if allowed & {"number", "integer"}:
        if "minimum" not in out and "exclusiveMinimum" not in out:
            out["minimum"] = -MAX_NUMBER
        if "maximum" not in out and "exclusiveMaximum" not in out:
            out["maximum"] = MAX_NUMBER
    if "array" in allowed:
        out.setdefault("items", dict(ANYTHING))
    if "object" in allowed:
        out.setdefault("additionalProperties", dict(ANYTHING))


def _portable(pattern: str, path: str) -> str:
    try:
        return portable(pattern)
    except NotPortable as error:
        raise UnsupportedKeyword(path, str(error)) from None


def _keep_exact(out: dict[str, Any]) -> None:
    """Keep what is written and what is read from it on the same side of every bound, although floats are rounded.

    A number close to an exclusive bound has no more decimals than a float can tell apart there; multiples of a fraction
    are exact up to a size that depends on it.
    """
    bounds = [out[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in out]
    if bounds and out.get("type") != "integer" and "multipleOf" not in out:
        before = max(Decimal(repr(bound)).adjusted() + 1 if bound else 0 for bound in bounds)
        decimals = min(max(SURE_DIGITS - before, 0), MAX_DECIMALS)
        out["multipleOf"] = float(Decimal(1).scaleb(-decimals)) if decimals else 1
    elif isinstance(out.get("multipleOf"), float):
        most = 2 ** (53 - MAX_FRACTION_BITS)
        out["minimum"] = max(out.get("minimum", -most), -most)
        out["maximum"] = min(out.get("maximum", most), most)


def _inward(value: float, *, low: bool) -> float:
    """Rounded to 12 digits, up for a lower bound."""
    exact = Decimal(repr(value))
    step = Decimal(1).scaleb(exact.adjusted() - 11)
    return float(exact.quantize(step, rounding=ROUND_CEILING if low else ROUND_FLOOR))


def _without_effect(key: str, node: Mapping[str, Any]) -> bool:
    """Keywords that validate nothing without their companions."""
    alone = {
        "if": not {"then", "else"} & node.keys(),
        "then": "if" not in node,
        "else": "if" not in node,
        "minContains": "contains" not in node,
        "maxContains": "contains" not in node,
    }
    return alone.get(key, False)


def _id(value: str, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    del value, node
    if path != "#/$id":
        raise UnsupportedKeyword(path, "`$id` is supported at the top of a schema only")
    return {}


def _only_true(value: Any, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    del node
    if value is True or value == {}:
        return {}
    raise UnsupportedKeyword(path, "`propertyNames` is not supported: use `patternProperties`")


def _values(value: Any, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    del node
    _check_number(value, path)
    _check_text(json.dumps(value, ensure_ascii=False), path)
    return {path.rpartition("/")[2]: value}


def _check_text(text: str, path: str) -> None:
    """Raises UnsupportedKeyword where JSON text holds what is never written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnsupportedKeyword(path, "half a surrogate pair is no character") from None
    if "\\u" in text.replace("\\\\", ""):
        raise UnsupportedKeyword(path, "control characters other than \\n, \\r, \\t, \\b and \\f are never written")


def _multiple_of(value: float, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    del node
    if value != round(value * 2**MAX_FRACTION_BITS) / 2**MAX_FRACTION_BITS:
        raise UnsupportedKeyword(
            path, f"{value} has no exact binary value, so validators disagree on its multiples: use a smaller unit"
        )
    return {"multipleOf": int(value) if value == int(value) else value}


def _min_properties(value: float, path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Further properties may come twice under the same name, which a parser counts once."""
    named = len(set(node.get("required", ())))
    if value > named + 1 and (node.get("additionalProperties", True) is not False or "patternProperties" in node):
        raise UnsupportedKeyword(path, f"at most {named + 1} here: names that `properties` does not list may repeat")
    return {"minProperties": int(value)}


def _check_number(value: Any, path: str) -> None:
    """Raises UnsupportedKeyword where a number anywhere in `value` is out of range."""
    if isinstance(value, list):
        for item in value:
            _check_number(item, path)
    elif isinstance(value, Mapping):
        for item in value.values():
            _check_number(item, path)
    elif isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= MAX_NUMBER):
        raise UnsupportedKeyword(path, f"{value} is beyond +-(2**53 - 1), where JSON numbers are no longer exact")


def _pointer(parts: Any) -> str:
    return "#" + "".join(f"/{_escape(str(part))}" for part in parts)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
