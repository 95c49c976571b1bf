"""Numbers as they are said: digits of any size, and number words in four languages, as lists for `hassil`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from hassil.expression import TextChunk
from hassil.intents import RangeFractionType, RangeSlotList, SlotList, TextSlotList, TextSlotValue
from unicode_rbnf import RbnfEngine

from lineside.edge.commands.phrases.spoken import hear

LANGUAGES = ("en", "de", "fr", "es")
FEW, MANY = 200, 1000
"""Every whole number up to one of these is known in words, hundreds up to 10,000, tenths up to 100."""
POINTS = {"en": ("point",), "de": ("komma",), "fr": ("virgule",), "es": ("coma", "punto", "con")}
DIGITS, MINUS = "_digits", "_minus"


class AnyNumber(RangeSlotList):
    """Digits of any size: what is out of range is refused after the match, so it must match."""

    def get_numbers(self) -> Iterable[float]:
        return _Everything()


class _Everything(Iterable[float]):
    def __contains__(self, number: object) -> bool:
        return True

    def __iter__(self) -> Iterator[float]:
        return iter(())


def number_lists() -> dict[str, SlotList]:
    """The lists for digits, after a word that says minus, too."""
    kind: dict[str, Any] = {"start": 0, "stop": 0, "words": False, "fraction_type": RangeFractionType.TENTHS}
    return {DIGITS: AnyNumber(name=DIGITS, **kind), MINUS: AnyNumber(name=MINUS, multiplier=-1.0, **kind)}


@cache
def number_words(language: str, up_to: int = FEW) -> TextSlotList:
    """Number words of a language, without accents: `twenty one`, `funfzig`, `vingt et un et demi`."""
    found: dict[str, float] = {}
    numbers = (*range(up_to + 1), *range(up_to + 10, MANY, 10), *range(MANY, 10 * MANY + 1, 100))
    spoken = {number: _spoken(language, number) for number in numbers}
    for number, texts in spoken.items():
        for text in texts:
            found.setdefault(text, number)
    for number in range(101):
        for text in spoken[number]:
            for point in POINTS[language]:
                for tenth in range(1, 10):
                    for digit in spoken[tenth]:
                        found.setdefault(f"{text} {point} {digit}", number + tenth / 10)
            for half in _halves(language, text, number):
                found.setdefault(half, number + 0.5)
    minus = {"en": ("minus", "negative"), "de": ("minus",), "fr": ("moins",), "es": ("menos",)}[language]
    for number in range(1, 101):
        for text in spoken[number]:
            for word in minus:
                found.setdefault(f"{word} {text}", -number)
    return TextSlotList(f"_words_{language}", [TextSlotValue(TextChunk(text), value) for text, value in found.items()])


def _spoken(language: str, number: int) -> set[str]:
    texts = {" ".join(hear(text).words) for text in _engine(language).format_number(number).text_by_ruleset.values()}
    return texts | {variant for text in texts for variant in _variants(language, text, number)}


def _variants(language: str, text: str, number: int) -> Iterator[str]:
    """What people say and the rules of the Unicode consortium do not."""
    if language == "en" and 100 <= number < 1000:
        head, _, tail = text.partition(" hundred")
        for start in {head, "a"} if head == "one" else {head}:
            yield f"{start} hundred{tail}"
            yield f"{start} hundred{' and' if tail else ''}{tail}"
        if number == 100:
            yield "hundred"
    elif language == "de" and text.startswith(("einhundert", "eintausend")):
        yield text.removeprefix("ein")
    elif language == "fr" and 70 <= number % 100 <= 99 and number < 100:
        swiss = {7: "septante", 8: "huitante", 9: "nonante"}[number // 10]
        unit = number % 10
        yield swiss + (f" {'et un' if unit == 1 else next(iter(_spoken('fr', unit)))}" if unit else "")
    elif language == "es" and number == 100:
        yield "ciento"


def _halves(language: str, text: str, number: int) -> Iterator[str]:
    if language == "en":
        yield f"{text} and a half"
    elif language == "de":
        yield f"{text}einhalb"
        yield f"{text} einhalb"
        yield f"{text} und ein halb"
        yield f"{text} und ein halbes"
    elif language == "fr":
        yield f"{text} et demi"
        yield f"{text} et demie"
    else:
        yield f"{text} y medio"
        yield f"{text} y media"
    if number == 1 and language == "de":
        yield "eineinhalb"
        yield "anderthalb"


@cache
def _engine(language: str) -> RbnfEngine:
    return RbnfEngine.for_language(language)
