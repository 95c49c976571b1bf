"""How sure one may be of a call: what the model's probabilities and the words of the sentence say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineside.runtime.commands.concepts import concepts, stems
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import Language, common, plain, words_of
from lineside.runtime.commands.retrieval import Ranking
from lineside.runtime.text.confidence import Confidence

TINY = 1e-6
MOST_UNEXPLAINED = 3
WRONG_CALL_COSTS = 20.0
"""In refusals: what it costs to make a wrong call."""


def unexplained(heard: Heard, declared: Declared, arguments: Mapping[str, Any], ranking: Ranking) -> list[str]:
    """Words of the sentence that neither the tool nor the call accounts for."""
    known = ranking.words.get(declared.name, frozenset())
    quoted = {word for value in arguments.values() if isinstance(value, str) for word in words_of(plain(value))}
    spoken = heard.language
    units = {word for forms in spoken.units.values() for form in forms for word in form.split()}
    left = []
    for word in words_of(spoken.bare(heard.text)):
        if word in quoted or word in units or word in spoken.function_words or word in common().generic:
            continue
        if not (word[:1].isalpha() and not _is_number(word, spoken)) or spoken.fillers.fullmatch(word):
            continue
        found = {f"#{concept}" for concept in concepts(word, spoken)}
        found |= {f"{one.code}:{stem}" for one in heard.languages for stem in stems([word], one.code)}
        if not found & known:
            left.append(word)
    return left


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


def evidence(
    heard: Heard, declared: Declared, arguments: Mapping[str, Any], ranking: Ranking, confidence: Confidence
) -> tuple[float, ...]:
    """What a call is judged by, in the order of `WEIGHTS`."""
    left = min(len(unexplained(heard, declared, arguments, ranking)), MOST_UNEXPLAINED)
    texts = [name for name, schema in declared.properties.items() if schema.get("type") == "string"]
    free = [name for name in texts if "enum" not in declared.properties[name]]
    return (
        math.log(max(confidence.name, TINY)),
        math.log(max(confidence.arguments, TINY)),
        math.log(max(confidence.call, TINY)),
        ranking.share(declared.name),
        float(left),
        float(left > 0 and any(name not in arguments for name in free)),
        float(odd_quotations(heard, declared, arguments, ranking)),
    )


WEIGHTS = (1.0, 2.1, 0.5, 1.5, -0.7, -0.6, -1.0)
"""Of: name, arguments, that a call is made at all (logarithms of probabilities); the tool's share of the best score by
words; words that nothing accounts for (at most three); whether some are left while a free text is not given; texts that
are oddly cut. Fitted on commands that are in no evaluation."""
BIAS = 2.1


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
