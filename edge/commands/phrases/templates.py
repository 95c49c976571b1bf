"""Templates of sentences: their literal text in the form in which sentences are compared, their slots by lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from lineside.edge.commands.phrases.spoken import hear

PART = re.compile(r"(\{[^{}]*\}|<[^<>]*>|[\[\]()|;])")
SLOT, RULE = re.compile(r"\{([^{}]*)\}"), re.compile(r"<([^<>]*)>")


class TemplateError(ValueError):
    """A template that cannot be read; says why."""


def rewrite(template: str, slot: Callable[[str], str]) -> str:
    """Fold the literal text, and put `slot(name)` in the place of each `{name}`."""
    parts = []
    for part in PART.split(template):
        if part.startswith("{"):
            parts.append(slot(part[1:-1].strip()))
        elif part and (part.startswith("<") or part in "[]()|;"):
            parts.append(part)
        elif part:
            parts.append(_literal(part))
    return "".join(parts)


def _literal(text: str) -> str:
    """Hyphens and apostrophes are word boundaries, here as in what is said."""
    words = " ".join(word for word in hear(text).words if word != "?")
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
