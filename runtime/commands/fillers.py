"""What stands in front of a free text and is no part of it: `some Queen`, `un peu de Queen`, `the artist Queen`."""

from __future__ import annotations

from collections.abc import Sequence

from lineside.runtime.commands.concepts import concepts, split_name, stems
from lineside.runtime.commands.language import Language, plain, words_of


def trimmed(text: str, spoken: Sequence[Language], parameter: str) -> str:
    """The text without fillers, and without a noun that only names its parameter; the text itself where it has none.

    What is written with a capital letter begins a title (`Some Girls`), and is kept.
    """
    before = ""
    while text != before:
        before = text
        text = _without_noun(_without_filler(text, spoken), spoken, parameter)
    return text


def is_of_another_kind(text: str, spoken: Sequence[Language]) -> bool:
    """Whether it begins by saying of what kind it is: `the song Yesterday`, which is no artist."""
    return not _is_title(text) and any(one.kinds.match(plain(text)) for one in spoken)


def _is_title(text: str) -> bool:
    return text[:1].isupper() and not text.isupper()


def _without_filler(text: str, spoken: Sequence[Language]) -> str:
    if _is_title(text):
        return text
    for one in spoken:
        found = one.before_texts.match(plain(text))
        rest = text[_as_written(text, found.end()) :].strip() if found else ""
        if rest:
            return rest
    return text


def _as_written(text: str, end: int) -> int:
    """The place in a text that corresponds to one in its plain form."""
    return next((at for at in range(len(text) + 1) if len(plain(text[:at] + "|")) - 1 >= end), len(text))


def _without_noun(text: str, spoken: Sequence[Language], parameter: str) -> str:
    """`lot 2291` of a parameter `lot`: an article and the noun, in any of the languages."""
    parts = text.split()
    at = 1 if len(parts) > 2 and any(plain(parts[0]) in one.articles for one in spoken) else 0
    if len(parts) <= at + 1 or (at == 0 and _is_title(text) and not parts[1][:1].isdigit()):
        return text
    named = set(words_of(plain(split_name(parameter))))
    noun = words_of(plain(parts[at]))
    if len(noun) != 1 or not noun:
        return text
    same = any(set(stems(noun, one.code)) & set(stems(sorted(named), one.code)) for one in spoken)
    meant = frozenset[str]().union(*(concepts(noun[0], one) for one in spoken))
    return " ".join(parts[at + 1 :]) if same or noun[0] in named or meant & named else text
