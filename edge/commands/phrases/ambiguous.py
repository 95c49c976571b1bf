"""Pairs of phrases that are one and the same sentence for two calls: told at start, with both."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from hassil.expression import (
    Alternative,
    Expression,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    TextChunk,
)
from hassil.expression import Group as Items

from lineside.edge.commands.phrases.compiled import Compiled, Group
from lineside.edge.phrase_files import Phrase

SAMPLES, MAX_SAMPLES = 16, 40_000
"""Sentences that are made of each phrase, and of all together: a phrase that can be said in more ways is compared in
some of them."""
Declared = tuple[Phrase, int, Sentence]
"""A phrase, the place of its group, and its template."""


def ambiguous_pairs(compiled: Compiled, declared: Sequence[Declared]) -> list[str]:
    """A sentence for each pair; what is not found here is refused when it is said."""
    seen: dict[str, tuple[int, Phrase]] = {}
    told: dict[tuple[str, str], str] = {}
    draws = max(1, min(SAMPLES, MAX_SAMPLES // max(1, len(declared))))
    for phrase, index, template in declared:
        group = compiled.groups[index]
        for sentence in _sentences(template, compiled, index, draws):
            other_index, other = seen.setdefault(f"{sentence}{'?' if group.is_question else ''}", (index, phrase))
            if not _same_call(compiled.groups[other_index], group):
                told.setdefault(
                    (other.text, phrase.text),
                    f"{phrase.place}: {phrase.text!r} ({_call(phrase)}) is the same sentence as {other.text!r} "
                    f"({_call(other)}) at {other.place}: change one of the two",
                )
    return list(told.values())


def _same_call(one: Group, other: Group) -> bool:
    return (one.tool, one.arguments, one.conversions) == (other.tool, other.arguments, other.conversions)


def _call(phrase: Phrase) -> str:
    return f"{phrase.tool or 'no tool'}{f' with {dict(phrase.arguments)}' if phrase.arguments else ''}"


def _sentences(template: Sentence, compiled: Compiled, index: int, draws: int) -> set[str]:
    """The shortest, and others drawn in the same way each time."""
    draw = random.Random(0)
    ways: list[random.Random | None] = [None, *([draw] * draws)]
    return {" ".join("".join(_walk(template.expression, compiled, index, way)).split()) for way in ways}


def _walk(expression: Expression, compiled: Compiled, index: int, draw: random.Random | None) -> Iterator[str]:
    if isinstance(expression, TextChunk):
        yield expression.text
    elif isinstance(expression, Alternative):  # the last of an optional part is nothing
        chosen = expression.items[-1] if draw is None else draw.choice(expression.items)
        yield from _walk(chosen, compiled, index, draw)
    elif isinstance(expression, Items):
        items: Sequence[Expression] = expression.items
        if isinstance(expression, Permutation) and draw is not None:
            items = draw.sample(items, len(items))
        for item in items:
            yield from _walk(item, compiled, index, draw)
    elif isinstance(expression, RuleReference):
        yield from _walk(compiled.rules(index)[expression.rule_name].expression, compiled, index, draw)
    elif isinstance(expression, ListReference):
        yield compiled.stands_for(expression.list_name)
