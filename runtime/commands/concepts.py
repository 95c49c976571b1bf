"""What the words of a text stand for: stems of each language, and concepts that all languages share.

A word is a feature `de:licht`, its stem in a language; a concept is `#light`, whatever language it was said in. So a
command in one language finds a tool that is described in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lineside.runtime.commands.language import CODES, Language, common, language, plain, words_of

CLAUSE = re.compile(r"[,.;:!?]+(?=\s|$)|\s-\s")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
JOINS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "e", "o"})
"""What a clause may end before."""
PART = 4
"""Letters that a part of a compound has at the least."""


@dataclass(frozen=True)
class _Entry:
    """A concept's words as stems; whether they count at the end or the beginning of a clause only."""

    concept: str
    stems: tuple[str, ...]
    last: bool
    first: bool


def split_name(name: str) -> str:
    """The words of an identifier: `set_Cabin_IsOpen` is `set cabin is open`."""
    return " ".join(CAMEL.sub(" ", name.replace("_", " ").replace("-", " ").replace(".", " ")).casefold().split())


@lru_cache(maxsize=len(CODES))
def _stemmer(code: str) -> Any:
    import Stemmer

    return Stemmer.Stemmer(language(code).stemmer)


def stems(words: Sequence[str], code: str) -> list[str]:
    """One for each word."""
    found: list[str] = _stemmer(code).stemWords(list(words))
    return found


@lru_cache(maxsize=len(CODES))
def _entries(code: str) -> dict[str, list[_Entry]]:
    """By their first stem."""
    found: dict[str, list[_Entry]] = {}
    for concept, forms in language(code).concepts.items():
        for form in forms:
            bare = form.strip("^$")
            entry = _Entry(concept, tuple(stems(words_of(plain(bare)), code)), form.endswith("$"), form.startswith("^"))
            found.setdefault(entry.stems[0], []).append(entry)
    return found


@lru_cache(maxsize=len(CODES))
def _parts(code: str) -> list[tuple[str, str]]:
    """Words that compounds are made of, with their concepts."""
    return [
        (plain(form), concept)
        for concept, forms in language(code).concepts.items()
        for form in forms
        if len(form) >= PART and " " not in form and not form.endswith("$")
    ]


def clauses(text: str, spoken: Language) -> list[list[str]]:
    """The words of each clause of a plain text; what only makes it polite at its end is left out."""
    found = []
    for part in CLAUSE.split(text):
        words = words_of(part)
        while words and spoken.fillers.fullmatch(words[-1]):
            words.pop()
        if words:
            found.append(words)
    return found


def concepts(text: str, spoken: Language) -> frozenset[str]:
    """Those that a text names in one language."""
    return frozenset(_found(plain(text), spoken.code))


@lru_cache(maxsize=2048)
def _found(text: str, code: str) -> tuple[str, ...]:
    spoken, entries = language(code), _entries(code)
    found: list[str] = []
    for words in clauses(text, spoken):
        stemmed = stems(words, code)
        for at, stem in enumerate(stemmed):
            for entry in entries.get(stem, ()):
                end = at + len(entry.stems)
                closes = end >= len(stemmed) or words[end] in JOINS
                placed = (not entry.last or closes) and (not entry.first or at == 0)
                if placed and tuple(stemmed[at:end]) == entry.stems:
                    found.append(entry.concept)
            if spoken.compounds and stem not in entries and len(words[at]) >= 2 * PART:
                found += [c for form, c in _parts(code) if _begins_or_ends(words[at], form)]
    return tuple(dict.fromkeys(found))


def parts(word: str, spoken: Language) -> tuple[frozenset[str], frozenset[str]]:
    """The concepts of a compound's first part, and those of its last, which says what it is; none of other words."""
    entries = _entries(spoken.code)
    if not spoken.compounds or len(word) < 2 * PART or stems([word], spoken.code)[0] in entries:
        return frozenset(), frozenset()
    known = _parts(spoken.code)
    return (
        frozenset(concept for form, concept in known if word.startswith(form)),
        frozenset(concept for form, concept in known if word.endswith(form)),
    )


def _begins_or_ends(word: str, form: str) -> bool:
    return word.startswith(form) or word.endswith(form)


def features(text: str, spoken: Iterable[Language]) -> list[str]:
    """Stems of all words that are no function words, and concepts, of a text in each of these languages."""
    said, found = plain(text), []
    for one in spoken:
        words = [word for word in words_of(said) if word not in one.function_words and not word.endswith("'")]
        found += [f"{one.code}:{stem}" for stem in stems(words, one.code)]
        found += [f"#{concept}" for concept in _found(said, one.code)]
    return found


def telling(found: Iterable[str]) -> frozenset[str]:
    """The features by which a tool can be told from others."""
    generic = common().generic
    return frozenset(feature for feature in found if feature.lstrip("#").rpartition(":")[2] not in generic)
