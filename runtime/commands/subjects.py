"""What a sentence is about where two things are named together: a garage light is a light, and no garage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineside.runtime.commands.concepts import clauses, concepts, parts, stems
from lineside.runtime.commands.language import Language, common, plain

BESIDE = frozenset({"en", "de"})
"""Languages in which the first of two nouns side by side says more of the second."""


@dataclass(frozen=True)
class Modified:
    """A thing that another thing, or its place, says more closely.

    Attributes:
        head: its concepts: those of `light`.
        by: the concepts that say more: those of `garage`.
        features: of the word that says more, unless that is a part of a compound.
    """

    head: frozenset[str]
    by: frozenset[str]
    features: frozenset[str] = frozenset()

    def is_another(self, known: frozenset[str]) -> bool:
        """Whether a tool with these features is about what only says more, and not about the thing itself."""
        if "door" in self.head:  # a garage is opened by its door
            return False
        return any(f"#{one}" in known for one in self.by) and not any(f"#{one}" in known for one in self.head)


def about_another(said: frozenset[str], known: frozenset[str]) -> bool:
    """Whether a sentence with these concepts names a thing, and the tool with these features is about another."""
    things = _things(said)
    own = _things(frozenset(one.removeprefix("#") for one in known if one.startswith("#")))
    meant = things.union(*(near for near in common().near if near & things))
    return bool(things and own) and not meant & own


def modified(text: str, spoken: Language) -> tuple[Modified, ...]:
    """`Garagenlicht`, `garage light`, `Licht in der Garage`, `la lumière du garage`; none that is said alone, too."""
    found: list[Modified] = []
    alone: set[str] = set()
    for words in clauses(plain(text), spoken):
        taken = set[int]()
        for at, word in enumerate(words):
            first, last = parts(word, spoken)
            if _things(last) and _may_say_more(first - last):
                found.append(Modified(_things(last), first - last))
                taken.add(at)
        for at in range(len(words)):
            head, by = _pair(words, at, spoken)
            if head >= 0 and not {head, by} & taken:
                said = _may_say_more(concepts(words[by], spoken))
                feature = f"{spoken.code}:{stems([words[by]], spoken.code)[0]}"
                found.append(Modified(_things(concepts(words[head], spoken)), said, frozenset({feature})))
                taken.add(by)
        for at, word in enumerate(words):
            alone |= concepts(word, spoken) if at not in taken else set()
    return tuple(one for one in found if not one.by & alone)


def _pair(words: Sequence[str], at: int, spoken: Language) -> tuple[int, int]:
    """The places of a thing and of what says more of it, where they begin here; -1 where none do."""
    nouns = _noun(words[at], spoken)
    if not nouns:
        return -1, -1
    following = at + 1
    if spoken.code in BESIDE and following < len(words):
        beside = _things(concepts(words[following], spoken))
        if beside and _may_say_more(nouns) and not beside & nouns:
            return following, at
    while following < len(words) and (words[following] in spoken.prepositions or words[following] in spoken.articles):
        following += 1
    prepositions = [word for word in words[at + 1 : following] if word in spoken.prepositions]
    if prepositions and following < len(words) and _things(nouns):
        said = _may_say_more(concepts(words[following], spoken))
        if said and not said & nouns:
            return at, following
    return -1, -1


def _noun(word: str, spoken: Language) -> frozenset[str]:
    found = concepts(word, spoken)
    return _things(found) | _may_say_more(found)


def _things(found: frozenset[str]) -> frozenset[str]:
    return found & (common().things | {"door"})


def _may_say_more(found: frozenset[str]) -> frozenset[str]:
    return found & (common().things | common().places)
