"""When two sets of arguments mean the same: spelling in free text is forgiven, everything else is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lineside.export.evaluation.cases import Expected

ARTICLES = {
    "en": ("the", "a", "an"),
    "de": ("der", "die", "das", "den", "dem", "ein", "eine", "einen"),
    "fr": ("le", "la", "les", "l", "un", "une", "des", "du"),
    "es": ("el", "la", "los", "las", "un", "una"),
}
_EDGES = " \t\n.,;:!?¡¿\"'"


def accepted(expected: Expected, given: Mapping[str, Any], language: str) -> bool:
    """True where `given` holds a right value for every expected argument, and nothing that was not asked for."""
    if given.keys() - expected.arguments.keys() - expected.accept.keys():
        return False
    for name in expected.arguments.keys() | expected.accept.keys():
        right = list(expected.accept.get(name, ()))
        right.append(expected.arguments.get(name))
        if not any(same(value, given.get(name), language) for value in right):
            return False
    return True


def exact(expected: Expected, given: Mapping[str, Any]) -> bool:
    """True where `given` is, to the letter, what the case expects."""
    return given.keys() == expected.arguments.keys() and all(
        type(value) is type(given[name]) and value == given[name] for name, value in expected.arguments.items()
    )


def same(right: Any, given: Any, language: str) -> bool:
    """Equal, where free text is compared by `normalized` and 20.0 is 20; True is not 1. None stands for left out."""
    if isinstance(right, bool) or isinstance(given, bool) or right is None or given is None:
        return right is given
    if isinstance(right, str) and isinstance(given, str):
        return normalized(right, language) == normalized(given, language)
    return bool(right == given)


def normalized(text: str, language: str) -> str:
    """Lower case, single spaces, without the article before it and the punctuation around it."""
    words = re.sub(r"\s+", " ", text.casefold().replace("’", "'").strip(_EDGES))
    first, mark, rest = words.partition("'") if language == "fr" and words.startswith("l'") else words.partition(" ")
    return rest.strip(_EDGES) if mark and first in ARTICLES[language] else words
