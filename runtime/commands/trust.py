"""How sure one may be of a call: what the model's probabilities and the words of the sentence say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lineside.runtime.commands.concepts import concepts, stems
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import CODES, Language, common, language, plain, words_of
from lineside.runtime.commands.retrieval import Ranking
from lineside.runtime.defaults import WRONG_CALL_COSTS
from lineside.runtime.text.confidence import Confidence

TINY = 1e-6
MOST_UNEXPLAINED = 3


@dataclass(frozen=True)
class Unexplained:
    """Words of the sentence that neither the tool nor the call accounts for.

    Attributes:
        words: all of them.
        placed: those behind a preposition, which mostly say where, when or with what: `in the hallway`.
    """

    words: tuple[str, ...]
    placed: tuple[str, ...]


def unexplained(heard: Heard, declared: Declared, arguments: Mapping[str, Any], ranking: Ranking) -> Unexplained:
    """What is left of a sentence when a call is taken from it."""
    spoken = heard.language
    quoted = {word for value in arguments.values() if isinstance(value, str) for word in words_of(plain(value))}
    known = ranking.words.get(declared.name, frozenset())
    left, placed, behind = [], [], False
    for word in words_of(spoken.bare(heard.text)):
        if word in spoken.prepositions:
            behind = True
        elif word in quoted or not tells(word, spoken) or is_known(word, heard, known):
            behind = behind and word in spoken.articles
        else:
            left.append(word)
            placed += [word] if behind else []
    return Unexplained(tuple(left), tuple(placed))


def tells(word: str, spoken: Language) -> bool:
    """Whether a word may say something that a tool has to take up; numbers and units are looked at elsewhere."""
    if word in spoken.function_words or word in common().generic or not word[:1].isalpha():
        return False
    return not (word in _unit_words(spoken.code) or spoken.fillers.fullmatch(word) or _is_number(word, spoken))


def is_known(word: str, heard: Heard, known: frozenset[str]) -> bool:
    """Whether a word is among the features of a tool, in itself or by its meaning."""
    found = {f"#{concept}" for concept in concepts(word, heard.language)}
    return bool(known & (found | {f"{one.code}:{stem}" for one in heard.languages for stem in stems([word], one.code)}))


@lru_cache(maxsize=len(CODES))
def _unit_words(code: str) -> frozenset[str]:
    return frozenset(word for forms in language(code).units.values() for form in forms for word in form.split())


def _is_number(word: str, spoken: Language) -> bool:
    from text_to_num import alpha2digit

    return word in spoken.fractions or str(alpha2digit(word, spoken.code, 0.0))[:1].isdigit()


def odd_quotations(heard: Heard, declared: Declared, arguments: Mapping[str, Any], ranking: Ranking) -> int:
    """Free texts that say nothing but the tool's own words (`room: the room`), or end at a function word (`to go`)."""
    spoken, known, odd = heard.language, ranking.words.get(declared.name, frozenset()), 0
    for name, value in arguments.items():
        words = words_of(plain(value)) if isinstance(value, str) else []
        if not words or "enum" in declared.properties.get(name, {}):
            continue
        edges = words[0] in spoken.function_words or words[-1] in spoken.function_words
        inner = [word for word in words if word not in spoken.function_words]
        own = all(f"{spoken.code}:{stem}" in known for stem in stems(inner, spoken.code))
        odd += edges or own
    return odd


def joined_quotations(heard: Heard, declared: Declared, arguments: Mapping[str, Any]) -> int:
    """Free texts with a preposition within, which may well be two: `Oman 2 months from now`."""
    joined = 0
    for name, value in arguments.items():
        if isinstance(value, str) and "enum" not in declared.properties.get(name, {}):
            joined += bool(heard.language.prepositions & set(words_of(plain(value))[1:-1]))
    return joined


def evidence(
    heard: Heard,
    declared: Declared,
    arguments: Mapping[str, Any],
    ranking: Ranking,
    confidence: Confidence,
    chosen: bool = False,
) -> tuple[float, ...]:
    """What a call is judged by, in the order of `WEIGHTS`; `chosen` says that the command named its tool."""
    left = unexplained(heard, declared, arguments, ranking) if not chosen else Unexplained((), ())
    texts = [name for name, schema in declared.properties.items() if schema.get("type") == "string"]
    free = [name for name in texts if "enum" not in declared.properties[name]]
    open_text = any(name not in arguments for name in free)
    return (
        math.log(max(confidence.name, TINY)),
        math.log(max(confidence.arguments, TINY)),
        math.log(max(confidence.call, TINY)),
        1.0 if chosen else ranking.share(declared.name),
        float(min(len(left.words), MOST_UNEXPLAINED)),
        float(bool(left.placed)),
        float(bool(left.placed) and open_text),
        float(odd_quotations(heard, declared, arguments, ranking)),
        float(open_text and joined_quotations(heard, declared, arguments) > 0),
    )


WEIGHTS = (1.4, 2.7, 0.0, 2.7, -1.0, -0.1, -2.2, -0.3, -1.8)
"""Of: name, arguments, that a call is made at all (logarithms of probabilities); the tool's share of the best score by
words; words that nothing accounts for (at most three), whether some of them stand behind a preposition, and whether a
free text is not given then; texts that are oddly cut; texts that may be two while a free text is not given. Fitted on
commands that are in no evaluation."""
BIAS = 1.45


@dataclass(frozen=True)
class Trust:
    """A logistic model of `a call is right`: fitted for the model that ships, scaled and shifted for a station.

    Attributes:
        scale, offset: of its score, as `lineside calibrate --commands` fits them.
        enough: the least probability at which a call is made.
        least_share: of the best tool's score by words, that a call's tool must have.
    """

    scale: float = 1.0
    offset: float = 0.0
    enough: float = WRONG_CALL_COSTS / (WRONG_CALL_COSTS + 1)
    least_share: float = 0.1

    def sure(self, found: Sequence[float]) -> float:
        """The probability that a call with this evidence is right."""
        score = sum(weight * value for weight, value in zip(WEIGHTS, found, strict=True)) + BIAS
        return 1 / (1 + math.exp(-max(min(self.scale * score + self.offset, 500.0), -500.0)))


def enough(wrong_call_costs: float) -> float:
    """The probability from which on a call costs less than a refusal, in refusals of what was right."""
    return wrong_call_costs / (wrong_call_costs + 1)
