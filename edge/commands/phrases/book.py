"""The phrases of one station: which call a sentence is, or why it is refused; nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hassil.models import MatchEntity
from hassil.recognize import RecognizeResult

from lineside.edge.commands.phrases.arguments import Argument, Refusal, arguments_of, check_value, is_valid, number_said
from lineside.edge.commands.phrases.compile import compile_phrases
from lineside.edge.commands.phrases.compiled import Group
from lineside.edge.commands.phrases.spoken import MAX_CHARACTERS, Said, hear, understand
from lineside.edge.config import Config
from lineside.edge.phrase_files import NO_TOOL
from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.fillers import is_of_another_kind, trimmed
from lineside.runtime.commands.language import likely

MAX_WIDE_WORDS = 3
"""Of what may stand in the place of a value that is not declared."""
NO_VALUE = frozenset(
    hear(
        """
    is are was were be do does did not no never don doesn didn isn aren what which who where when why how if and or then
    but except all every again too very so turn switch set make get to down up at on off the a an here there bit it
    ist sind war nicht nie niemals kein keine was welche welcher wer wo wann warum wie ob und oder dann aber
    an aus ein hier etwas bisschen es
    est sont pas ne n jamais aucun que quel quelle qui ou quand pourquoi comment si et puis mais peu ici
    es esta estan no nunca ningun que cual quien donde cuando por como si y o luego pero poco aqui
    """
    ).words
)
"""With one of these words it is no name of a value, and the sentence is something else."""
MEASURES = frozenset(
    hear("% ° percent prozent pour cent pourcent por ciento porciento degrees degree grad grados").words
)
"""Words that do not tell what is spoken of."""
SHORT = 3
"""Letters of a word that may be a part of any name, such as "de"."""
LIMITS_OF_SENTENCES = re.compile(r"[.!?;:]\s+\w")


@dataclass(frozen=True)
class Match:
    """A call that was said by a phrase."""

    tool: str
    arguments: Mapping[str, Any]
    phrase: str
    """As it is declared."""


@dataclass(frozen=True)
class _Reading:
    """One way in which a sentence is a phrase."""

    group: Group
    said: Mapping[str, Any]
    """What stands in the slots: a choice's value, a number, or the words of a text."""
    has_text: bool
    literal: int
    template: str

    @property
    def call(self) -> tuple[str, Mapping[str, Any]]:
        return self.group.tool, {**self.group.arguments, **self.said}


class PhraseBook:
    """Every phrase of a station, ready to match.

    Raises:
        ConfigError: a phrase, a word or a phrase file has a mistake; it names each.
    """

    def __init__(self, config: Config) -> None:
        self._tools = config.tools
        self._arguments = {name: arguments_of(tool) for name, tool in config.tools.items()}
        compiled = compile_phrases(config)
        self._written = compiled.written
        self._exact, self._wide = compiled.matcher(widened=False), compiled.matcher(widened=True)
        self._said_of = self._exact.literal_words()
        compiled.warm_up()
        for arguments in self._arguments.values():
            for argument in arguments.values():
                is_valid(argument, None)

    def call(self, text: str, tool_choice: str) -> ToolCall | None:
        """As `match`; nothing where the requester wants a text, or another tool."""
        found = self.match(text) if tool_choice != "none" else None
        if found is None or tool_choice not in ("auto", "required", found.tool):
            return None
        return ToolCall("", found.tool, dict(found.arguments))

    def match(self, text: str) -> Match | None:
        """The call that the sentence is; None where it is no phrase.

        Raises:
            RequestError: it is a phrase and may not be carried out: a value is out of range or not declared, two calls
                are meant, or no tool does what it asks for. It says so in the language of the sentence.
        """
        try:
            return self._match(text)
        except Refusal as refusal:
            raise refusal.told(text) from None

    def _match(self, text: str) -> Match | None:
        if not len(self._exact) or len(text) > MAX_CHARACTERS:
            return None
        sentence = understand(text)
        readings: list[_Reading] = []
        literally = [(said, False) for said in sentence.longer]
        for said, may_have_text in (*literally, *((said, True) for said in (*sentence.variants, *sentence.longer))):
            readings = [r for r in self._readings(said) if not sentence.is_question or self._answers(r.group)]
            readings = [r for r in readings if may_have_text or not r.has_text]
            if readings:
                break
        if not readings:
            if not sentence.is_question:
                for said in sentence.variants:
                    self._refuse_undeclared(said)
            return None
        return self._only(_best(readings), text)

    def _answers(self, group: Group) -> bool:
        """Whether a question may be such a phrase."""
        return group.is_question or (group.tool != NO_TOOL and not self._tools[group.tool].acts)

    def _only(self, readings: Sequence[_Reading], text: str) -> Match:
        calls = [reading.call for reading in readings]
        different = [call for place, call in enumerate(calls) if call not in calls[:place]]
        if len(different) > 1:
            meant = " or ".join(_written(*call) for call in different)
            raise Refusal("ambiguous", "ambiguous", value=text.strip()[:100], values=meant)
        reading = readings[0]
        if reading.group.tool == NO_TOOL:
            raise Refusal("nothing_fits", "nothing_fits")
        return Match(reading.group.tool, self._values(reading), reading.template)

    def _values(self, reading: _Reading) -> dict[str, Any]:
        """The arguments of the call. Raises RequestError where one may not be called with."""
        tool, group = self._tools[reading.group.tool], reading.group
        values = dict(group.arguments)
        for name in values.keys() & tool.limits.keys() & self._arguments[group.tool].keys():
            check_value(self._arguments[group.tool][name], values[name], tool.limits[name])
        for name, said in reading.said.items():
            argument = self._arguments[group.tool][name]
            convert = group.conversions.get(name)
            values[name] = number_said(argument, said, convert) if argument.kind == "number" else said
            check_value(argument, values[name], tool.limits.get(name, {}))
        return values

    def _readings(self, said: Said) -> list[_Reading]:
        found = []
        for group, result in self._exact.match(said.words):
            reading = self._reading(group, result, said)
            if reading is not None:
                found.append(reading)
        return found

    def _reading(self, group: Group, result: RecognizeResult, said: Said) -> _Reading | None:
        """None where a text takes in what is no text: another command, or what says of which kind it is."""
        values: dict[str, Any] = {}
        has_text = False
        for entity in result.entities_list:
            if entity.name.startswith("_"):  # what no argument is made of
                has_text = has_text or entity.is_wildcard
                continue
            if entity.name in values and values[entity.name] != entity.value:
                return None
            values[entity.name] = entity.value
            if entity.is_wildcard:
                has_text = True
                first, last = _place(entity, said)
                if self._is_more_than_a_text(said, first, last):
                    return None
                value = said.original(first, last)
                spoken = likely(said.text)
                if is_of_another_kind(value, spoken):
                    return None
                values[entity.name] = trimmed(value, spoken, entity.name)
        template = result.intent_sentence.text if result.intent_sentence is not None else None
        return _Reading(group, values, has_text, result.text_chunks_matched, self._written.get(template or "", ""))

    def _is_more_than_a_text(self, said: Said, first: int, last: int) -> bool:
        """The end of it is a phrase of its own, or it goes over the end of a sentence."""
        if LIMITS_OF_SENTENCES.search(said.original(first, last)):
            return True
        for start in range(first + 1, last):
            for _, result in self._exact.match(said.words[start:last]):
                if not any(entity.is_wildcard for entity in result.entities_list):
                    return True
        return False

    def _tells(self, word: str, argument: str) -> bool:
        """Whether a word of a sentence is said of nothing but tools with this argument: `light`, and not `set`."""
        tools = self._said_of.get(word, set()) - {NO_TOOL}
        return bool(tools) and word not in MEASURES and all(argument in self._arguments[tool] for tool in tools)

    def _refuse_undeclared(self, said: Said) -> None:
        """Raises RequestError where the sentence would be a phrase if a value of that name were declared."""
        shortest: tuple[int, str, Argument] | None = None
        for group, result in self._wide.match(said.words, MAX_WIDE_WORDS):
            entity = next((e for e in result.entities_list if e.is_wildcard and e.name == group.widened), None)
            if entity is None:
                continue
            first, last = _place(entity, said)
            words, others = said.words[first:last], (*said.words[:first], *said.words[last:])
            if not 1 <= len(words) <= MAX_WIDE_WORDS or NO_VALUE.intersection(words):
                continue
            if any(len(word) > SHORT and group.tool in self._said_of.get(word, ()) for word in words):
                continue
            if not any(self._tells(word, group.widened) for word in others):
                continue
            if shortest is None or len(words) < shortest[0]:
                shortest = len(words), said.original(first, last), self._arguments[group.tool][group.widened]
        if shortest is not None:
            _, name, argument = shortest
            known = ", ".join(map(str, argument.choices))
            raise Refusal("unknown_value", "no_such_value", value=name, values=known)


def _best(readings: Sequence[_Reading]) -> list[_Reading]:
    """The station's own before Home Assistant's, words before a text that may be anything, more words before fewer."""
    ours = [reading for reading in readings if reading.group.is_ours] or list(readings)
    plain = [reading for reading in ours if not reading.has_text]
    if plain:
        return plain
    most = max(reading.literal for reading in ours)
    return [reading for reading in ours if reading.literal == most]


def _place(entity: MatchEntity, said: Said) -> tuple[int, int]:
    """The words that a wildcard took, from and to before."""
    start = entity.text_span[0] if entity.text_span is not None else 0
    start += len(entity.text) - len(entity.text.lstrip())
    first = said.folded[:start].count(" ")
    return first, first + len(entity.text.split())


def _written(tool: str, arguments: Mapping[str, Any]) -> str:
    values: Iterable[str] = (f"{name} {value}" for name, value in arguments.items())
    said = ", ".join(values)
    return f"{tool or 'nothing'}{f' ({said})' if said else ''}"
