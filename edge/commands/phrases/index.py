"""Which templates can be a sentence at all, by its words: few of thousands, found in microseconds.

A template must take in every word of a sentence. So the templates that know a word are a number with a bit for each,
and those that know all words are what these numbers have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hassil.expression import Expression, ListReference, RuleReference, Sentence, TextChunk
from hassil.expression import Group as Items
from hassil.intents import RangeSlotList, SlotList, TextSlotList


class Index:
    """Templates by the words that they can take in. It never leaves out one that `hassil` would match."""

    def __init__(self, lists: Mapping[str, SlotList]) -> None:
        self._lists = lists
        self._words: dict[str, int] = {}
        self._beginnings: dict[str, int] = {}
        """Of words that a template puts together: `schalt[e]`."""
        self._numbers = self._anything = 0
        self._using: dict[str, int] = {}
        """For a list, the templates that name it."""
        self._list_words: dict[str, tuple[str, ...]] = {}
        """For a word, the lists that have it."""
        self._list_beginnings: dict[str, tuple[str, ...]] = {}

    def add(self, place: int, template: Sentence, rules: Mapping[str, Sentence]) -> None:
        bit = 1 << place
        for part in _parts(template.expression, rules):
            if isinstance(part, TextChunk):
                self._add_words(part.text, bit)
                continue
            known = self._lists.get(part.list_name)
            if isinstance(known, TextSlotList):
                if part.list_name not in self._using:
                    self._add_list(part.list_name, known)
                self._using[part.list_name] = self._using.get(part.list_name, 0) | bit
            elif isinstance(known, RangeSlotList):
                self._numbers |= bit
            else:
                self._anything |= bit

    def _add_list(self, name: str, known: TextSlotList) -> None:
        for value in known.values:
            for part in _parts(value.text_in, {}):
                words = part.text.split() if isinstance(part, TextChunk) else []
                for word in words:
                    self._list_words[word] = tuple({*self._list_words.get(word, ()), name})
                if words:
                    self._list_beginnings[words[-1]] = tuple({*self._list_beginnings.get(words[-1], ()), name})

    def _add_words(self, text: str, bit: int) -> None:
        words = text.split()
        for word in words:
            self._words[word] = self._words.get(word, 0) | bit
        if words and not text[-1].isspace():
            self._beginnings[words[-1]] = self._beginnings.get(words[-1], 0) | bit

    def _knowing(self, word: str) -> int:
        known = self._words.get(word, 0)
        for name in self._list_words.get(word, ()):
            known |= self._using[name]
        if word[:1].isdigit() or word[:1] == "-":
            known |= self._numbers
        for length in range(1, len(word)):
            known |= self._beginnings.get(word[:length], 0)
            for name in self._list_beginnings.get(word[:length], ()):
                known |= self._using[name]
        return known

    def all_words(self, words: Sequence[str]) -> list[int]:
        """The places of templates that may take in every word."""
        found = -1
        for word in words:
            found &= self._knowing(word) | self._anything
        return list(_places(found)) if words else []

    def all_but(self, words: Sequence[str], most: int) -> list[int]:
        """The places of templates that may take in every word but some, at most so many and next to each other."""
        known = [self._knowing(word) for word in words]
        found = 0
        for first in range(len(words)):
            for last in range(first + 1, min(first + most, len(words)) + 1):
                here = -1 if last - first < len(words) else 0
                for bits in (*known[:first], *known[last:]):
                    here &= bits
                found |= here
        return list(_places(found))


def _parts(expression: Expression, rules: Mapping[str, Sentence]) -> Iterator[TextChunk | ListReference]:
    if isinstance(expression, TextChunk | ListReference):
        yield expression
    elif isinstance(expression, Items):
        for item in expression.items:
            yield from _parts(item, rules)
    elif isinstance(expression, RuleReference):
        yield from _parts(rules[expression.rule_name].expression, rules)


def _places(bits: int) -> Iterable[int]:
    while bits > 0:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
