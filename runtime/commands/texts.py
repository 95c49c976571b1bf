"""Whether a free text of a call is cut as it was said: whole, without more, and of the right parameter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineside.runtime.commands.concepts import split_name
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.fillers import is_of_another_kind, trimmed
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import QUOTES, WORD, common, plain, words_of
from lineside.runtime.commands.numbers import quantities
from lineside.runtime.commands.retrieval import Ranking
from lineside.runtime.commands.trust import is_known, tells

INNER = frozenset({"-", "&", "/", "+"})
"""Between two words of one name."""
TIMES = frozenset({"time", "date", "when", "day"})
"""Words of the names of parameters whose texts are no names."""
CLOCK = ("am", "pm", "a", "p", "o'clock", "uhr", "h", "heures", "heure", "horas", "hours")
MORE = 2
"""Letters of a word that may go on with a name, at the least."""


@dataclass(frozen=True)
class Misfit:
    """A text that does not stand: a code of `Language.refusals`."""

    code: str
    parameter: str
    value: str


@dataclass(frozen=True)
class _Word:
    """`gap` is what stands before it, without spaces."""

    plain: str
    capital: bool
    gap: str


def is_free_text(schema: Mapping[str, Any]) -> bool:
    """Whether a parameter takes any words."""
    return schema.get("type") == "string" and "enum" not in schema and "const" not in schema


def without_fillers(heard: Heard, declared: Declared, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, each free text without what is no part of it."""
    properties = declared.properties
    return {
        name: trimmed(value, heard.languages, name)
        if isinstance(value, str) and is_free_text(properties.get(name, {}))
        else value
        for name, value in arguments.items()
    }


def misfit(heard: Heard, declared: Declared, arguments: Mapping[str, Any], ranking: Ranking) -> Misfit | None:
    """The first free text that is not cut as it was said; None where all are."""
    properties = declared.properties
    texts = {
        name: value
        for name, value in arguments.items()
        if isinstance(value, str) and value.strip() and is_free_text(properties.get(name, {}))
    }
    spoken = _spoken(heard.text)
    for name, value in texts.items():
        if trimmed(value, heard.languages, name) != value or is_of_another_kind(value, heard.languages):
            return Misfit("badly_cut", name, value)
        if TIMES & set(split_name(name).split()):
            continue
        number = _number_within(value, declared, arguments)
        if number:
            return Misfit("left_out", name, number)
        places = list(_places(words_of(plain(value)), [word.plain for word in spoken]))
        others = {word for other in arguments.values() for word in words_of(plain(str(other))) if other != value}
        surroundings = _Surroundings(heard, declared, spoken, others, ranking.words.get(declared.name, frozenset()))
        if places and not any(surroundings.whole(*place) for place in places):
            return Misfit("badly_cut", name, value)
    return _swapped(heard, declared, texts, [word.plain for word in spoken])


def _spoken(text: str) -> list[_Word]:
    """The words of a sentence, as `words_of` its plain form."""
    said, found, end = text.translate(QUOTES), list[_Word](), 0
    for match in WORD.finditer(said):
        gap = "".join(said[end : match.start()].split())
        for at, part in enumerate(words_of(plain(match[0]))):
            found.append(_Word(part, match[0][:1].isupper(), "" if at else gap))
        end = match.end()
    return found


def _places(wanted: Sequence[str], said: Sequence[str]) -> Iterator[tuple[int, int]]:
    for at in range(len(said) - len(wanted) + 1):
        if wanted and list(said[at : at + len(wanted)]) == list(wanted):
            yield at, at + len(wanted)


def _number_within(value: str, declared: Declared, arguments: Mapping[str, Any]) -> str:
    """The number that a text says in the place of a parameter that the call leaves out: `six lemons`."""
    said = plain(value)
    numbers = [
        one for one in quantities(value) if not (one.optional or one.unit) and one.start == 0 and one.end < len(said)
    ]
    if numbers and any(words_of(said[numbers[0].end :])[:1] == [word] for word in CLOCK):
        return ""
    left = [
        name
        for name, schema in declared.properties.items()
        if name not in arguments and schema.get("type") in ("integer", "number")
    ]
    return numbers[0].text if numbers and left else ""


@dataclass(frozen=True)
class _Surroundings:
    """What stands around a text."""

    heard: Heard
    declared: Declared
    spoken: Sequence[_Word]
    others: set[str]
    known: frozenset[str]

    def whole(self, first: int, end: int) -> bool:
        """Whether the words from `first` to before `end` are all of a name."""
        if end < len(self.spoken) and self._goes_on(self.spoken[end], self.spoken[end].gap, self.spoken[end - 1]):
            return False
        in_front = len(words_of(self.heard.language.bare(self.heard.text))) - len(self.spoken) + first - 1
        if in_front < 0:
            return end - first == 1 or not self._says_what_to_do(self.spoken[first])
        if self.spoken[first].plain in self.heard.language.never_first and not self.spoken[first].capital:
            return False
        if self._begins_before(first, end):
            return False
        before, word = self.spoken[first - 1], self.spoken[first]
        if not self._goes_on(before, word.gap, word):
            return True
        return in_front == 0 or (word.capital and not before.capital)  # a sentence mostly begins with what to do

    def _begins_before(self, first: int, end: int) -> bool:
        """Whether a small function word stands in front of a name with a capital letter: `on Spotify`."""
        spoken, word = self.heard.language, self.spoken[first]
        small = word.plain in spoken.function_words | spoken.prepositions and word.plain not in spoken.articles
        return small and not word.capital and end - first > 1 and self.spoken[first + 1].capital

    def _says_what_to_do(self, word: _Word) -> bool:
        """Whether a sentence's first word is a verb that the tool, or any, can be told by."""
        return word.plain in common().generic or is_known(word.plain, self.heard, self.known)

    def _goes_on(self, word: _Word, gap: str, inner: _Word) -> bool:
        """Whether a word beside a text belongs to the same name."""
        if gap in INNER:
            return True
        if gap and not (gap == "," and word.capital and inner.capital):
            return False
        if len(word.plain) < MORE or word.plain in self.others or (inner.capital and not word.capital):
            return False
        if any(word.plain in one.beside_texts or not tells(word.plain, one) for one in self.heard.languages):
            return False
        return not is_known(word.plain, self.heard, self.known)


def _swapped(heard: Heard, declared: Declared, texts: Mapping[str, str], said: Sequence[str]) -> Misfit | None:
    """A text beside the noun of another: `item: chill` of `add Queen to the chill playlist`.

    Where the tool's name itself says a preposition before a parameter (`add_to_playlist`), its text stands behind one.
    """
    if len(texts) < 2:
        return None
    name = split_name(declared.name).split()
    for parameter, value in texts.items():
        places = list(_places(words_of(plain(value)), said))
        if len(places) != 1:
            continue
        first, end = places[0]
        own, beside = _nouns(parameter), {*said[end : end + 1], *said[max(first - 1, 0) : first]}
        for other, text in texts.items():
            if other == parameter or beside & own or not _placed_once(text, said):
                continue
            if said[end : end + 1] and said[end] in _nouns(other):
                return Misfit("badly_cut", parameter, value)
            behind = any(a in heard.language.prepositions and b == other for a, b in itertools.pairwise(name))
            if behind and _behind_preposition(heard, said, first) and not _text_behind(heard, said, text):
                return Misfit("badly_cut", parameter, value)
    return None


def _nouns(parameter: str) -> set[str]:
    return set(split_name(parameter).split())


def _placed_once(text: str, said: Sequence[str]) -> bool:
    return len(list(_places(words_of(plain(text)), said))) == 1


def _text_behind(heard: Heard, said: Sequence[str], text: str) -> bool:
    first, _ = next(_places(words_of(plain(text)), said))
    return _behind_preposition(heard, said, first)


def _behind_preposition(heard: Heard, said: Sequence[str], at: int) -> bool:
    at -= 1
    while at > 0 and said[at] in heard.language.articles:
        at -= 1
    return at >= 0 and said[at] in heard.language.prepositions
