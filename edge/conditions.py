"""Conditions over states, as a station file writes them: `Vehicle.Speed < 5 and not (lamp == "on")`.

A small language of its own, read once and never evaluated as code: comparisons of states, numbers, texts, `true` and
`false`, with `and`, `or`, `not` and brackets. Every part is looked at: a state that cannot be compared is never hidden
behind an `or`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 500
TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)(?![\w.])|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)|(?P<sign>==|!=|<=|>=|<|>|\(|\)))"
)
COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WORDS = ("and", "or", "not", "true", "false")
Values = Mapping[str, Any]
Value = Callable[[Values], Any]
Truth = Callable[[Values], bool]


class Incomparable(Exception):
    """A state is of another kind than what it is compared with; the message names it."""


@dataclass(frozen=True)
class Condition:
    """A condition as it was written, and the names of the states that it is about."""

    text: str
    names: tuple[str, ...]
    holds: Truth
    """Whether it is true of these values by name; raises Incomparable, and KeyError where one is missing."""


def parse_condition(text: str) -> Condition:
    """Raises ValueError with a sentence that says where it cannot be read, and what would be right."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, {MAX_CHARACTERS} are taken")
    parser = _Parser(text)
    holds = parser.whole()
    if not parser.names:
        raise ValueError("it names no state: `Vehicle.Speed < 5` would")
    return Condition(text.strip(), tuple(dict.fromkeys(parser.names)), holds)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._kind, self._token = "", ""
        self.names: list[str] = []
        self._next()

    def whole(self) -> Truth:
        truth = self._either()
        if self._kind:
            raise self._wrong("and, or, or its end")
        return truth

    def _next(self) -> None:
        if not self._text[self._at :].strip():
            self._kind = self._token = ""
            return
        found = TOKEN.match(self._text, self._at)
        if found is None:
            self._token = self._text[self._at :].split()[0]
            raise self._wrong("a state, a number, a text or a comparison")
        self._at, self._kind = found.end(), found.lastgroup or ""
        self._token = found[self._kind]
        if self._kind == "name" and self._token in WORDS:
            self._kind = "word"

    def _either(self) -> Truth:
        parts = [self._both()]
        while self._token == "or":
            self._next()
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda values: any(_each(parts, values))

    def _both(self) -> Truth:
        parts = [self._not()]
        while self._token == "and":
            self._next()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda values: all(_each(parts, values))

    def _not(self) -> Truth:
        if self._token == "not":
            self._next()
            inner = self._not()
            return lambda values: not inner(values)
        if self._token == "(":
            self._next()
            inner = self._either()
            if self._token != ")":
                raise self._wrong("a closing bracket")
            self._next()
            return inner
        return self._comparison()

    def _comparison(self) -> Truth:
        name, left = self._operand()
        if self._token not in COMPARED:
            if not name:
                raise self._wrong("a comparison")
            return lambda values: _truth(name, left(values))
        compare = COMPARED[self._token]
        only_same = self._token in ("==", "!=")
        self._next()
        other, right = self._operand()
        said = name or other
        return lambda values: compare(*_comparable(said, left(values), right(values), only_same))

    def _operand(self) -> tuple[str, Value]:
        """The name of a state, empty for what stands for itself, and what gives its value."""
        kind, token = self._kind, self._token
        value: Any
        if kind == "number":
            value = float(token)
        elif kind == "text":
            value = token[1:-1]
        elif token in ("true", "false"):
            value = token == "true"
        elif kind == "name":
            self.names.append(token)
            self._next()
            return token, lambda values: values[token]
        else:
            raise self._wrong("a state, a number or a text")
        self._next()
        return "", lambda _values: value

    def _wrong(self, wanted: str) -> ValueError:
        where = f"at {self._token!r}" if self._token else "at its end"
        return ValueError(f"{where}: {wanted} is expected; `Vehicle.Speed < 5 and not lamp == 'on'` would be right")


def _each(parts: list[Truth], values: Values) -> list[bool]:
    return [part(values) for part in parts]


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Incomparable(f"{name} is neither true nor false")
    return value


def _comparable(name: str, left: Any, right: Any, only_same: bool) -> tuple[Any, Any]:
    """Numbers with numbers, and for the same or another also texts with texts and truths with truths."""
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (left, right)]
    if all(numbers) and math.isfinite(left) and math.isfinite(right):
        return left, right
    if only_same and type(left) is type(right) and isinstance(left, str | bool):
        return left, right
    raise Incomparable(f"{name} cannot be compared so")
