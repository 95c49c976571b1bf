"""Templates in a station file: Jinja2 in its sandbox, parsed and checked before anything runs.

"{{ 'ON' if on else 'OFF' }}"                             a text
{ state = "{{ state }}", brightness = "{{ (percent * 2.54) | round | int }}" }    JSON: a value that is nothing but
                                                          one expression keeps its type
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, meta, nodes
from jinja2.environment import TemplateExpression
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lineside.edge.errors import ConfigError
from lineside.runtime.text.strict_json import load_json

Render = Callable[[Mapping[str, Any]], Any]
FAILURES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)
"""What rendering may raise: a template meets values that its writer did not think of."""
KEPT = 1024
"""Templates that are compiled once: a check and what is checked have the same."""
RESERVED = {"self"}
ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


def compile_template(node: Any, key: str, known: AbstractSet[str] | None = None) -> Render:
    """Compile texts with templates, also within tables and lists; numbers and the like stay what they are.

    Args:
        key: of the station file, for errors.
        known: names that a template may use, the arguments of a tool; None where any may come.

    Raises:
        ConfigError: a template that does not parse or uses another name, or a value that is not JSON.
    """
    if isinstance(node, dict):
        parts = {name: compile_template(item, f"{key}.{name}", known) for name, item in node.items()}
        return lambda values: {name: render(values) for name, render in parts.items()}
    if isinstance(node, list):
        items = [compile_template(item, f"{key}.{index}", known) for index, item in enumerate(node)]
        return lambda values: [render(values) for render in items]
    if not isinstance(node, str):
        try:
            load_json(json.dumps(node))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"`{key}`: {node!r} is not JSON ({error})") from None
        return lambda _values: node
    return _text(node, key, known)


def _text(text: str, key: str, known: AbstractSet[str] | None) -> Render:
    used = names_in(text, key)
    if known is not None:
        if RESERVED & known:
            raise ConfigError(f"`{key}`: templates cannot use an argument called self: give it another name")
        if unknown := used - known:
            raise ConfigError(f"`{key}`: {', '.join(sorted(unknown))} is no argument of this tool")
    try:
        if whole := _only_expression(text):
            expression = _expression(whole)
            return lambda values: _defined(expression(dict(values)))
        template = _template(text)
    except TemplateError as error:
        raise ConfigError(f"`{key}` is not a template: {error}") from error
    return lambda values: template.render(dict(values))


@lru_cache(maxsize=KEPT)
def _expression(text: str) -> TemplateExpression:
    return ENVIRONMENT.compile_expression(text, undefined_to_none=False)


@lru_cache(maxsize=KEPT)
def _template(text: str) -> Template:
    return ENVIRONMENT.from_string(text)


def names_in(text: str, key: str) -> set[str]:
    """The names that a template uses; raises ConfigError where it does not parse."""
    try:
        return set(_names(text))
    except TemplateError as error:
        raise ConfigError(f"`{key}` is not a template: {error}") from error


@lru_cache(maxsize=KEPT)
def _names(text: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(ENVIRONMENT.parse(text)))


def parts_of(text: str, name: str, key: str) -> set[str]:
    """What a template takes out of `name`: `{"a", "b"}` for `{{ name.a }} {{ name["b"] }}`."""
    tree = _parse(text, key)
    parts = {found.attr for found in tree.find_all(nodes.Getattr) if _is(found.node, name)}
    for item in tree.find_all(nodes.Getitem):
        if _is(item.node, name) and isinstance(item.arg, nodes.Const):
            parts.add(str(item.arg.value))
    return parts


def _is(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name


def _parse(text: str, key: str) -> nodes.Template:
    try:
        return ENVIRONMENT.parse(text)
    except TemplateError as error:
        raise ConfigError(f"`{key}` is not a template: {error}") from error


def _only_expression(text: str) -> str:
    """What stands between the braces of a text that is nothing but one `{{ ... }}`; empty for others."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}") and "{{" not in inner[2:] and "}}" not in inner[:-2]:
        return inner[2:-2].strip()
    return ""


def _defined(value: Any) -> Any:
    if isinstance(value, StrictUndefined):
        str(value)  # raises the UndefinedError that says which
    return value
