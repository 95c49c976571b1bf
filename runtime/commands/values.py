"""Whether every value of a call was said, and every value that was said is in the call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lineside.runtime.commands.concepts import concepts, split_name
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import language, plain, words_of
from lineside.runtime.commands.numbers import Quantity, quantities
from lineside.runtime.commands.polarity import SAYS_ON, bool_said, off_said
from lineside.runtime.commands.units import agrees, convertible, in_unit, unit_of

SAME = 1e-9
MAX_VALUES = 12
"""Of an enum in a message."""


@dataclass(frozen=True)
class Problem:
    """Why a value does not stand: a code of `Language.refusals` and what its sentence needs."""

    code: str
    values: Mapping[str, Any]


@dataclass
class Findings:
    """What became of the values of one answer's calls.

    Attributes:
        problems: the first is the one to report.
        used: numbers of the sentence that a call took up.
        quoted: texts in the calls.
        chosen: values of enums in the calls.
        ends: upper bounds of the numbers in the calls: `3 of 6` says both.
    """

    problems: list[Problem] = field(default_factory=list)
    used: set[Quantity] = field(default_factory=set)
    quoted: list[str] = field(default_factory=list)
    chosen: dict[str, list[Any]] = field(default_factory=dict)
    ends: set[float] = field(default_factory=set)


def check_values(heard: Heard, declared: Declared, arguments: Mapping[str, Any], into: Findings) -> None:
    """Look at each argument of a call; what is wrong is added to `into`."""
    for name, value in arguments.items():
        schema = declared.properties.get(name)
        if schema is None:
            if declared.tool.parameters.get("additionalProperties", True) is False or not declared.properties:
                into.problems.append(Problem("unknown_key", {"parameter": name, "tool": declared.name}))
                continue
            schema = {}
        _Value(heard, declared, name, into).check(value, schema)


def left_out(heard: Heard, tools: Mapping[str, Declared], into: Findings) -> Iterator[str]:
    """Numbers, and values of the parameters that were filled in, which were said and are in no call."""
    for number in heard.numbers:
        if not (number.optional or number in into.used or number.value in into.ends or _quoted(number, into.quoted)):
            yield number.text
    for key, given in into.chosen.items():
        tool, _, parameter = key.partition("/")
        declared = tools[tool]
        for value in declared.properties[parameter].get("enum", ()):
            forms = declared.words.get(parameter, {}).get(str(value), ())
            named = (isinstance(value, str) and _named(heard, value)) or any(heard.says(form) for form in forms)
            named = named and heard.negation is None  # what is denied is not asked for
            covered = any(_within(value, other) for other in given) or _quoted_words(value, into.quoted)
            if named and not covered:
                yield str(value)


def _within(value: Any, other: Any) -> bool:
    """`rear` is said along with `rear left`."""
    words, others = (set(split_name(str(one)).split()) for one in (value, other))
    return words <= others


def _quoted(number: Quantity, quoted: list[str]) -> bool:
    """Whether a text of the call holds the number."""
    return any(abs(other.value - number.value) < SAME for text in quoted for other in quantities(text))


def _quoted_words(value: Any, quoted: list[str]) -> bool:
    words = split_name(str(value))
    return any(words in plain(text) for text in quoted)


def _named(heard: Heard, value: str) -> bool:
    """Whether each word of a value was said, or another word for it in any language."""
    name = split_name(value)
    if heard.says(name) or heard.says(value):
        return True
    english = language("en")
    key = name.replace(" ", "_")
    if key in heard.concepts:
        return True
    words = [word for word in words_of(plain(name)) if word not in english.function_words or concepts(word, english)]
    return bool(words) and all(_word_said(heard, word) for word in words)


def _word_said(heard: Heard, word: str) -> bool:
    if heard.says(word):
        return True
    found = concepts(word, language("en"))
    return bool(found & heard.concepts) or word in heard.concepts


@dataclass(frozen=True)
class _Value:
    """One value on its way through its schema."""

    heard: Heard
    declared: Declared
    parameter: str
    into: Findings

    def check(self, value: Any, schema: Mapping[str, Any]) -> None:
        branches = [self.declared.resolved(part) for key in ("anyOf", "oneOf") for part in schema.get(key, ())]
        if "const" in schema or ("default" in schema and schema["default"] == value) or value is None:
            return
        if self._by_words(value, schema):
            return
        if "enum" in schema:
            self._check_enum(value, schema)
        elif branches:
            self._check_any(value, branches)
        elif isinstance(value, bool):
            self._check_bool(value)
        elif isinstance(value, int | float):
            self._check_number(value, schema)
        elif isinstance(value, str):
            self._check_text(value)
        elif isinstance(value, Mapping):
            for name, part in value.items():
                inner = self.declared.resolved(schema.get("properties", {}).get(name, {}))
                _Value(self.heard, self.declared, name, self.into).check(part, inner)
        elif isinstance(value, list):
            for part in value:
                self.check(part, self.declared.resolved(schema.get("items", {})))

    def _by_words(self, value: Any, schema: Mapping[str, Any]) -> bool:
        """Whether one of the words that are declared for this value was said."""
        key = str(value).lower() if isinstance(value, bool) else str(value)
        forms = self.declared.words.get(self.parameter, {}).get(key, ())
        named = [plain(form) for form in forms if self.heard.says(form)]
        self.into.used |= {one for one in self.heard.numbers if any(one.text in form for form in named)}
        said = bool(named)
        if said and "enum" in schema:
            self._choose(value)
        return said

    def _choose(self, value: Any) -> None:
        self.into.chosen.setdefault(f"{self.declared.name}/{self.parameter}", []).append(value)

    def _check_any(self, value: Any, branches: list[Mapping[str, Any]]) -> None:
        """One of several schemas will do."""
        first: Findings | None = None
        for branch in branches:
            trial = Findings()
            _Value(self.heard, self.declared, self.parameter, trial).check(value, branch)
            if not trial.problems:
                self.into.used |= trial.used
                self.into.quoted += trial.quoted
                return
            first = first or trial
        if first is not None:
            self.into.problems += first.problems

    def _power_said(self, value: str) -> bool:
        """Whether `on` or `off` was said by another word for it."""
        return off_said(self.heard, value) or (split_name(value) == "on" and bool(self.heard.concepts & SAYS_ON))

    def _check_enum(self, value: Any, schema: Mapping[str, Any]) -> None:
        values = schema["enum"]
        if len(values) == 1 and values == [value]:
            return
        if isinstance(value, str):
            if _named(self.heard, value) or self._power_said(value):
                self._choose(value)
                return
        elif isinstance(value, bool):
            self._check_bool(value)
            return
        elif isinstance(value, int | float):
            self._check_number(value, schema)
            return
        shown = ", ".join(map(str, values[:MAX_VALUES])) + (", ..." if len(values) > MAX_VALUES else "")
        self._problem("not_among", values=shown)

    def _check_bool(self, value: bool) -> None:
        if not bool_said(self.heard, self.declared, self.parameter, value):
            self._problem("not_said", value=str(value).lower())

    def _check_text(self, value: str) -> None:
        if self.heard.quotes(value):
            self.into.quoted.append(value)
        else:
            self._problem("not_said", value=value)

    def _check_number(self, value: float, schema: Mapping[str, Any]) -> None:
        unit = unit_of(self.parameter, schema, self.declared)
        numbers = [one for one in (*self.heard.numbers, *self.heard.told) if convertible(one, unit)]
        said = [one for one in numbers if agrees(one, value, unit, schema)]
        self.into.ends |= {float(schema[key]) for key in ("maximum",) if key in schema}
        if said:
            self.into.used.add(min(said, key=lambda one: one.optional))
            return
        if value == 0 and off_said(self.heard, "off"):
            return
        if value == schema.get("maximum") and self.heard.concepts & {"open", "on"} and not self.heard.numbers:
            return
        self._out_of_range(
            [one for one in numbers if not one.optional and one not in self.into.used], value, unit, schema
        )

    def _out_of_range(self, numbers: list[Quantity], value: float, unit: str, schema: Mapping[str, Any]) -> None:
        """Say which number was too high or too low, where one was."""
        for one in numbers:
            number = in_unit(one, unit, schema)
            most, least = schema.get("maximum"), schema.get("minimum")
            if most is not None and number > most:
                self._problem("above", value=_shown(number), limit=_shown(most))
                return
            if least is not None and number < least:
                self._problem("below", value=_shown(number), limit=_shown(least))
                return
        self._problem("not_said", value=_shown(value))

    def _problem(self, code: str, **values: Any) -> None:
        self.into.problems.append(Problem(code, {"parameter": self.parameter, "tool": self.declared.name, **values}))


def _shown(number: float) -> str:
    return f"{number:g}" if abs(number) < 1e15 else str(number)
