"""Verbs as they are said politely, or with a pronoun, turned into those of a plain command."""

from __future__ import annotations

import re
from collections.abc import Iterator

Words = tuple[str, ...]
GERUND = re.compile(r"(\w{2,})ing")
DOUBLED = re.compile(r"(\w+)([bdglmnprt])\2")
FORMAL = re.compile(r"(\w{3,})n")
"""`schalten Sie` is `schalte`."""
ASKED = re.compile(r"(\w{2,}[ae])s")
"""`me abres` is `abre`."""
ATTACHED = re.compile(r"(\w{2,})(?:me|nos)")
"""`abreme` is `abre`."""
ME = ("me", "nos")
MOI = ("moi", "nous")


def plain_verbs(words: Words, *, after_mind: bool) -> Iterator[Words]:
    """Other ways to say the same, in folded words, whose first word is the verb.

    Args:
        after_mind: whether `would you mind` stood before them.
    """
    first, rest = words[:1], words[1:]
    if not rest:
        return
    if after_mind and (found := GERUND.fullmatch(first[0])):
        stem = found[1]
        doubled = DOUBLED.fullmatch(stem)
        for verb in (stem, f"{stem}e", *([doubled[1] + doubled[2]] if doubled else [])):
            yield (verb, *rest)
    if rest[0] == "sie" and (found := FORMAL.fullmatch(first[0])):
        yield (found[1], *rest[1:])
        yield (found[1].removesuffix("e"), *rest[1:])
    if first[0] in ME and (found := ASKED.fullmatch(rest[0])):
        yield (found[1], *rest[1:])
        yield (found[1].removesuffix("e"), *rest[1:])
    if found := ATTACHED.fullmatch(first[0]):
        yield (found[1], *rest)
    if rest[0] in MOI and len(rest) > 1:
        yield (first[0], *rest[1:])
