"""Sentences that mean the last call, and say nothing else: "stop that", "noch einmal", "a bit more"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from lineside.runtime.commands.language import EDGES, Language, languages

Reference = Literal["undo", "again", "more", "less"]
REFERENCES: tuple[Reference, ...] = ("undo", "again", "more", "less")
MAX_CHARACTERS = 80
"""Of a sentence that says nothing else."""
GREETINGS = re.compile(r"\W*(hello|hi|hallo|servus|salut|bonjour|hola|buenas|buenos)\b", re.IGNORECASE)
"""Who says "hello again" asks for nothing."""


def refers(text: str) -> Reference | None:
    """What a sentence wants of the last call; None where it says anything else.

    A question is none, but one that politely asks for something is.
    """
    if len(text) > MAX_CHARACTERS or GREETINGS.match(text):
        return None
    for spoken in languages():
        for said in _readings(text, spoken):
            for reference in REFERENCES:
                if spoken.refers[reference].fullmatch(said):
                    return reference
    return None


def _readings(text: str, spoken: Language) -> Iterator[str]:
    """The sentence with fewer and fewer polite words around it."""
    said = spoken.bare(text)
    if found := spoken.polite.match(said):
        said = spoken.bare(said[found.end() :].rstrip("?"))
    yield said
    behind = re.compile(f"[\\s,]+{spoken.fillers.pattern}$")
    while found := behind.search(said):
        said = said[: found.start()].strip(EDGES)
        yield said
