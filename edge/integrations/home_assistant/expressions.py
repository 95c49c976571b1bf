"""Templates that Home Assistant renders: bodies of commands, and values out of a station's messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WHO = "home-assistant"
"""Before the transactions of its commands, and the name of its conversation."""
LONGEST_STATE = 255
"""Characters that a state of Home Assistant may have."""


class Code(str):
    """A piece of an expression, where any other text would be quoted."""

    __slots__ = ()


VALUE, SWITCHED_ON = Code("value"), Code("value == 'ON'")


def literal(value: Any) -> str:
    """A value as an expression of Jinja2."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return "none" if value is None else json.dumps(value)


def command(body: Mapping[str, Any], about: str = "", expiry_s: float = 0.0) -> str:
    """The JSON body of a command. Each is a request of its own, known again however often the broker delivers it.

    Args:
        about: stands in the transaction, so that the reply can be told from others.
        expiry_s: the command is of no use after it; 0 where it says no expiry.
    """
    mark = f"{WHO}/{about}/" if about else f"{WHO}/"
    body = {**body, "transaction": Code(f"{json.dumps(mark)} ~ utcnow().timestamp()")}
    if expiry_s:
        body["expires_at"] = Code(f"(utcnow() + timedelta(seconds={expiry_s:g})).isoformat()")
    return payload(body)


def payload(body: Mapping[str, Any]) -> str:
    """A JSON body."""
    return "{{ " + literal(body) + " | to_json }}"


def cut(expression: str) -> str:
    """As a state, which has a longest length."""
    return f"({expression}) | string | truncate({LONGEST_STATE}, true, '...', 0)"
