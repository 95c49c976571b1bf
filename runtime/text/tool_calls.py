"""Function calls in Mistral's formats: reading them from generated tokens.

v3 and v7 write `[TOOL_CALLS]` and a JSON list; v11 `[TOOL_CALLS]name[CALL_ID]id[ARGS]{...}` for each call, v13 the
same without the id. Both forms of the newer format are accepted, since models write either.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lineside.runtime.chat import ToolCall
from lineside.runtime.errors import AnswerError
from lineside.runtime.text.strict_json import load_json

if TYPE_CHECKING:
    from lineside.runtime.text.tokenizer import Tokenizer

ID_ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 9


def new_call_id() -> str:
    """Nine random letters and digits, as mistral-common requires."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def parse_tool_calls(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, tuple[ToolCall, ...]]:
    """Split generated token ids into free text and the calls that follow it.

    Raises:
        AnswerError: a call is not in the tokenizer's format, or its arguments are no JSON that others could read.
    """
    marker = tokenizer.tool_calls_id
    ids = [int(token) for token in ids if token != tokenizer.eos_id]
    if marker is None or marker not in ids:
        return tokenizer.decode(ids), ()
    first = ids.index(marker)
    text, rest = tokenizer.decode(ids[:first]), ids[first + 1 :]
    if not tokenizer.named_calls:
        return text, _parse_list(tokenizer.decode(rest))
    return text, tuple(_parse_named(tokenizer, part) for part in _split(rest, marker))


def _split(ids: list[int], marker: int) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for token in ids:
        if token == marker:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _parse_named(tokenizer: Tokenizer, ids: list[int]) -> ToolCall:
    args_id, call_id = tokenizer.special_id("[ARGS]"), tokenizer.special_id("[CALL_ID]")
    if args_id not in ids:
        raise AnswerError(f"a call without [ARGS]: {tokenizer.decode(ids)!r}")
    split = ids.index(args_id)
    head, identifier = ids[:split], ""
    if call_id in head:
        at = head.index(call_id)
        head, identifier = head[:at], tokenizer.decode(head[at + 1 :])
    return ToolCall(
        identifier or new_call_id(), tokenizer.decode(head).strip(), _arguments(tokenizer.decode(ids[split + 1 :]))
    )


def _parse_list(text: str) -> tuple[ToolCall, ...]:
    try:
        items = load_json(text)
        return tuple(
            ToolCall(str(item.get("id") or new_call_id()), str(item["name"]), dict(item["arguments"])) for item in items
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnswerError(f"not a JSON list of calls ({error}): {text!r}") from error


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = load_json(text)
    except ValueError as error:
        raise AnswerError(f"arguments that are not JSON ({error}): {text!r}") from error
    if not isinstance(value, dict):
        raise AnswerError(f"arguments that are not a JSON object: {text!r}")
    return value
