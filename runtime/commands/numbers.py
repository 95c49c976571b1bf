"""The numbers that a sentence says, in digits or words, with their units: `twenty one and a half degrees` is 21.5."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from lineside.runtime.commands.language import Language, language, likely, plain

NUMBER_AND_LETTERS = re.compile(r"(?P<minus>(?<![\w.,])-)?(?P<digits>\d+(?:[.,]\d+)*)(?P<ordinal>)")
CLOCK = re.compile(r"\s*(?:am|pm|a\.m|p\.m|o'clock|uhr|heures?|h\b|:\d)")
ALONE_ABOVE = 1.0
"""A number word that stands alone counts from two on: one is mostly an article or a pronoun."""
TIME_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True)
class Quantity:
    """A number as it was said.

    Attributes:
        value: the number; of a `share`, 0 to 1.
        text: as it stands in the sentence, for messages.
        unit: a unit of `Language.units`; empty where none was said.
        share: whether it is a part of a whole: `half`, `full`.
        step: whether it says by how much: `by 10`, `10 more`.
        optional: whether it may be no number at all: an article, an ordinal, digits within a name, `full`.
    """

    value: float
    text: str
    unit: str = ""
    share: bool = False
    optional: bool = False
    start: int = 0
    end: int = 0
    step: bool = False


def quantities(text: str) -> tuple[Quantity, ...]:
    """All numbers of a sentence, in its likeliest language; in another likely one where that finds none."""
    found: tuple[Quantity, ...] = ()
    for spoken in likely(text):
        found = found or _quantities(plain(text), spoken.code)
        if any(not one.optional for one in found):
            return found
    return found


@lru_cache(maxsize=512)
def _quantities(said: str, code: str) -> tuple[Quantity, ...]:
    spoken = language(code)
    digits = _completed(_in_digits(said, spoken), spoken)
    found = [*_numbers(digits, spoken), *_shares(digits, spoken), *_ones(digits, spoken)]
    found.sort(key=lambda one: (one.start, -one.end))
    return tuple(
        replace(one, step=True) if _is_step(one, digits, spoken) else one for one in _summed(_outermost(found), digits)
    )


def _is_step(one: Quantity, said: str, spoken: Language) -> bool:
    before, behind = said[: one.start], said[one.end :]
    if spoken.steps["value"].search(before) or one.unit in TIME_S or CLOCK.match(behind):
        return False
    return bool(spoken.steps["before"].search(before) or spoken.steps["behind"].match(behind))


def _in_digits(said: str, spoken: Language) -> str:
    """Number words as digits. `pour cent` is no hundred."""
    from text_to_num import alpha2digit

    for word in spoken.units["percent"]:
        if word != "%":
            said = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "%", said)
    for ending, digits in (("half_behind", "5"), ("quarter_behind", "25"), ("three_quarters_behind", "75")):
        for joined in (form for form in spoken.numbers[ending] if " " not in form and spoken.compounds):
            said = re.sub(rf"(\w+){joined}(?!\w)", lambda found, d=digits: _joined(found[1], d, spoken), said)  # type: ignore[misc]
    for zero in spoken.numbers["zero"]:
        said = re.sub(rf"(?<!\w){zero}(?!\w)", "0", said)
    return str(alpha2digit(said, spoken.code, ALONE_ABOVE))


def _joined(word: str, digits: str, spoken: Language) -> str:
    """`zweieinhalb` as 2.5; the word again where it begins with no number."""
    from text_to_num import alpha2digit

    whole = str(alpha2digit(word, spoken.code, 0.0))
    return f"{whole}.{digits}" if whole.isdigit() else word


def _completed(said: str, spoken: Language) -> str:
    """`21 and a half` and `21 degrés et demi` as 21.5."""
    for ending, digits in (("half_behind", "5"), ("quarter_behind", "25"), ("three_quarters_behind", "75")):
        for form in spoken.numbers[ending]:
            said = re.sub(rf"(?<![\w.,])(\d+)(\s[^\W\d]+)?\s{form}(?!\w)", rf"\1.{digits}\2", said)
    for minus in spoken.numbers["minus"]:
        said = re.sub(rf"(?<!\w)(?<!au ){minus} (?=\d)", "-", said)
    return said


def _numbers(said: str, spoken: Language) -> Iterator[Quantity]:
    for found in NUMBER_AND_LETTERS.finditer(said):
        value = _value(found["digits"], spoken)
        rest = said[found.end() :]
        unit, length = _unit(rest, spoken)
        glued = bool(re.match(r"[^\W\d]", rest)) and not length
        before = said[: found.start()]
        within = bool(re.search(r"[^\W\d_]-?$", before)) or glued
        sign = -1 if found["minus"] else 1
        text = said[found.start() : found.end() + length]
        yield Quantity(sign * value, text, unit, False, within, found.start(), found.end() + length)


def _value(digits: str, spoken: Language) -> float:
    """Where a comma separates thousands a point separates decimals, and the other way round."""
    thousands, point = (",", ".") if spoken.code == "en" else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+(?:{re.escape(point)}\d+)?", digits):
        return float(digits.replace(thousands, "").replace(point, "."))
    return float(re.sub(r"[.,](?=.*[.,])", "", digits).replace(",", "."))


def _unit(rest: str, spoken: Language) -> tuple[str, int]:
    """The unit right behind a number, and how many characters it takes."""
    for one in (spoken, language("en")):
        best = ("", 0)
        for unit, forms in one.units.items():
            for form in forms:
                found = re.match(rf"\s?{re.escape(form)}(?![^\W\d_])", rest)
                if found and found.end() > best[1]:
                    best = (unit, found.end())
        if best[0]:
            return best
    return "", 0


def _shares(said: str, spoken: Language) -> Iterator[Quantity]:
    ends = [(word, 1.0) for word in spoken.numbers["most"]] + [(word, 0.0) for word in spoken.numbers["least"]]
    for word, share in [*spoken.fractions.items(), *ends]:
        form = f"(?:{re.escape(plain(word))}|{re.escape(_in_digits(plain(word), spoken))})"
        for found in re.finditer(rf"(?<!\w){form}(?!\w)", said):
            article = re.match(rf" (?:{'|'.join(spoken.ones)})(?= )", said[found.end() :])
            behind = found.end() + (article.end() if article else 0)
            unit, length = _unit(said[behind:], spoken)
            whole = not unit  # half an hour is a number of hours, half speed is not
            end = found.end() if whole else behind + length
            yield Quantity(share, found[0], unit, whole, whole and share in (0.0, 1.0), found.start(), end)


def _ones(said: str, spoken: Language) -> Iterator[Quantity]:
    for word in spoken.ones:
        for found in re.finditer(rf"(?<!\w){word}(?!\w)", said):
            unit, length = _unit(said[found.end() :], spoken)
            yield Quantity(1.0, found[0], unit, False, True, found.start(), found.end() + length)


def _outermost(found: Sequence[Quantity]) -> Iterator[Quantity]:
    """Of those that overlap the first and longest: `three quarters`, not `3` and `quarter`."""
    end = -1
    for one in found:
        if one.start >= end:
            end = one.end
            yield one


def _summed(found: Iterator[Quantity], said: str) -> Iterator[Quantity]:
    """`1 hour 30 minutes` as 1.5 hours."""
    last: Quantity | None = None
    for one in found:
        if last is not None:
            between = said[last.end : one.start].strip(" ,")
            bigger = TIME_S.get(last.unit, 0.0) > TIME_S.get(one.unit, 1e9)
            if bigger and between in ("", "and", "und", "et", "y"):
                value = last.value + one.value * TIME_S[one.unit] / TIME_S[last.unit]
                last = replace(last, value=value, text=said[last.start : one.end], end=one.end, optional=False)
                continue
            yield last
        last = one
    if last is not None:
        yield last
