"""Templates of sentences: their literal text in the form in which sentences are compared, their slots by lists."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping

from lineside.edge.commands.phrases import polite
from lineside.edge.commands.phrases.spoken import hear, places_of

PART = re.compile(r"(\{[^{}]*\}|<[^<>]*>|[\[\]()|;])")
SLOT, RULE = re.compile(r"\{([^{}]*)\}"), re.compile(r"<([^<>]*)>")


class TemplateError(ValueError):
    """A template that cannot be read; says why."""


def rewrite(template: str, slot: Callable[[str], str], *, is_phrase: bool = False) -> str:
    """Fold the literal text, and put `slot(name)` in the place of each `{name}`.

    Args:
        is_phrase: with "please" and its like as what may be left out, where more is left than a slot or a negation.
    """
    parts, split = list[str](), PART.split(template)
    has_polite = is_phrase and _says_more(split)
    for at, part in enumerate(split):
        if part.startswith("{"):
            parts.append(slot(part[1:-1].strip()))
        elif part and (part.startswith("<") or part in "[]()|;"):
            parts.append(part)
        elif part:
            goes_on = (any(split[at - 1 : at]) and split[at - 1] in "])", split[at + 1 : at + 2] in (["["], ["("]))
            parts.append(_literal(part, goes_on if has_polite else None))
    return "".join(parts)


def _says_more(split: list[str]) -> bool:
    """Whether every sentence of the template has a word that is neither polite nor a negation: without its first word
    `please {text}` would be anything.
    """
    depth, more = 0, False
    for part in split:
        if part and part in "([":
            depth += 1
        elif part and part in ")]":
            depth -= 1
        elif part and part in "|;" and not depth:
            return False
        elif not depth and not part.startswith(("{", "<")):
            words = hear(part).words
            more = more or len(places_of(words, f"{polite.COURTESY}|{polite.NEGATION}")) < len(words)
    return more


def _literal(text: str, goes_on: tuple[bool, bool] | None) -> str:
    """Hyphens and apostrophes are word boundaries, here as in what is said.

    Args:
        goes_on: whether a bracket closes before the text and one opens behind it, where its first and last word may go
            on; None to leave polite words as they are.
    """
    heard = [word for word in hear(text).words if word != "?"]
    taken = places_of(tuple(heard), polite.COURTESY) if goes_on is not None else set[int]()
    if goes_on is not None and goes_on[0] and not text[0].isspace():
        taken -= {0}
    if goes_on is not None and goes_on[1] and not text[-1].isspace():
        taken -= {len(heard) - 1}
    runs = itertools.groupby(enumerate(heard), lambda entry: entry[0] in taken)
    joined = [(may_go, " ".join(word for _, word in run)) for may_go, run in runs]
    words = " ".join(f"[{run}]" if may_go else run for may_go, run in joined)
    before = " " if re.match(r"[\s'’-]", text) else ""
    behind = " " if re.search(r"[\s'’-]$", text) and words else ""
    return before + words + behind


def slot_names(template: str) -> list[str]:
    return [name.strip() for name in SLOT.findall(template)]


def rules_used(templates: Iterable[str], rules: Mapping[str, str]) -> dict[str, str]:
    """The rules that the templates name, and those that these name.

    Raises:
        TemplateError: there is no such rule, or one names itself.
    """
    found: dict[str, str] = {}

    def visit(text: str, above: tuple[str, ...]) -> None:
        for name in RULE.findall(text):
            if name not in rules:
                raise TemplateError(f"there is no rule <{name}>; `rules` has {', '.join(rules) or 'none'}")
            if name in above:
                raise TemplateError(f"the rule <{name}> names itself")
            if name not in found:
                found[name] = rules[name]
            visit(rules[name], (*above, name))

    for template in templates:
        visit(template, ())
    return found


def check_brackets(template: str) -> None:
    """Raises TemplateError where brackets do not close."""
    open_ones: list[str] = []
    for mark in re.findall(r"[\[\](){}<>]", template):
        if mark in "[({<":
            open_ones.append(mark)
        elif not open_ones or open_ones.pop() != {")": "(", "]": "[", "}": "{", ">": "<"}[mark]:
            raise TemplateError(f"`{mark}` closes what was not opened")
    if open_ones:
        raise TemplateError(f"`{open_ones[-1]}` is not closed")
    if "[]" in template or "()" in template or not template.strip():
        raise TemplateError("it has an empty part")
