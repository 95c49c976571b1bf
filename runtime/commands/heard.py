"""A command as it was heard: its language, its words, its numbers; whether it asks, and whether it denies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineside.runtime.commands.concepts import concepts, features, stems
from lineside.runtime.commands.language import Language, likely, plain, words_of
from lineside.runtime.commands.numbers import Quantity, quantities
from lineside.runtime.commands.subjects import Modified, modified


@dataclass(frozen=True)
class Heard:
    """What the checks look at.

    Attributes:
        text: as it was sent.
        languages: those that it may be in, the likeliest first.
        sayings: words of the text, and of each result of a tool before: what counts as said.
        concepts: what the text names, in any of its languages.
        features: see `runtime.commands.concepts`.
        numbers: those of the text and of the results before it.
        question: it asks for information.
        negation: where the plain text begins to deny; None where it does not.
        modified: things that the text says more closely: a `garage light`.
        ends: it denies that something goes on (`not any more`, `don't leave it on`).
    """

    text: str
    languages: tuple[Language, ...]
    sayings: tuple[tuple[str, ...], ...]
    concepts: frozenset[str]
    features: frozenset[str]
    numbers: tuple[Quantity, ...]
    told: tuple[Quantity, ...]
    question: bool
    negation: tuple[int, int] | None
    ends: bool
    modified: tuple[Modified, ...] = ()

    @property
    def language(self) -> Language:
        return self.languages[0]

    def says(self, words: str) -> bool:
        """Whether these words were said one after the other, in any of their inflections."""
        wanted = words_of(plain(words))
        return any(_within(wanted, said) for said in self.sayings) or any(
            _within(stems(wanted, one.code), stems(self.sayings[0], one.code)) for one in self.languages
        )

    def quotes(self, text: str) -> bool:
        """Whether a text was said literally, but for its case, its spaces and its punctuation."""
        wanted = words_of(plain(text))
        return any(_within(wanted, said) for said in self.sayings)


def hear(text: str, results: Sequence[str] = ()) -> Heard:
    """Take a command in; `results` are what tools gave back before, whose values count as said."""
    spoken = likely(text)
    denials = [found for one in spoken if (found := one.negation(text)) is not None]
    return Heard(
        text=text,
        languages=spoken,
        sayings=tuple(tuple(words_of(plain(saying))) for saying in (text, *results)),
        concepts=frozenset().union(*(concepts(text, one) for one in spoken)),
        features=frozenset(features(text, spoken)),
        numbers=quantities(text),
        told=tuple(one for result in results for one in quantities(result)),
        question=spoken[0].is_question(text),
        negation=min(denials, default=None),
        ends=any(one.ends_something(text) for one in spoken),
        modified=tuple(found for one in spoken for found in modified(text, one)),
    )


def _within(wanted: Sequence[str], said: Sequence[str]) -> bool:
    count = len(wanted)
    return count > 0 and any(list(said[at : at + count]) == list(wanted) for at in range(len(said) - count + 1))
