"""Places that exclude each other: what is said of the passenger's seat is not meant of the driver's."""

from __future__ import annotations

from collections.abc import Sequence

from lineside.runtime.commands.concepts import concepts
from lineside.runtime.commands.heard import Heard
from lineside.runtime.commands.language import common, plain


def other_place(heard: Heard, known: frozenset[str], quoted: Sequence[str]) -> tuple[str, str]:
    """A place that was said, and the one of a tool with these features, which excludes it; empty where there is none.

    Args:
        quoted: texts of the call, in which a place is a part of a name.
    """
    said = plain(heard.text)
    for text in quoted:
        said = said.replace(plain(text), " ")
    for pair in common().contrasts:
        for place, other in (pair, pair[::-1]):
            if f"#{other}" not in known or f"#{place}" in known:
                continue
            for one in heard.languages:
                if place in concepts(one.idioms.sub(" ", said), one):
                    return one.concepts[place][0], one.concepts[other][0]
    return "", ""
