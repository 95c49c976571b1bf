"""What a command says: a JSON object, or a sentence. What was meant as JSON and is broken is never a sentence."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

from pydantic import ValidationError

from lineside.edge.errors import RequestError
from lineside.edge.wire.asking import AskCommand
from lineside.edge.wire.changes import Change
from lineside.edge.wire.identity import without_mark

NO_UTF8 = "the command is neither JSON nor UTF-8 text"
WRAPPING = " \t\r\n'`\\("
"""What a shell or a template leaves around JSON."""
Changing = TypeVar("Changing", bound=Change)
OPENING, CLOSING = '{["', "}]"


def parse_ask(payload: bytes) -> AskCommand:
    """A JSON object, or a sentence.

    Raises:
        RequestError: neither; JSON that is broken, or no object, or one of another shape.
    """
    try:
        text = without_mark(payload).decode("utf-8").strip()
    except UnicodeDecodeError:
        raise RequestError("malformed", NO_UTF8) from None
    if not text or "\x00" in text:
        raise RequestError("malformed", "the command is empty" if not text else NO_UTF8)
    is_json, body = _read(text)
    try:
        if isinstance(body, dict):
            request = AskCommand.model_validate_json(text)
        elif (is_json and not _is_number(body)) or looks_like_json(text):
            raise RequestError("malformed", _problem(text))
        else:
            request = AskCommand(text=text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError("malformed", f"not an ask command: {problems}") from None
    if isinstance(body, dict) and looks_like_json(request.text):
        raise RequestError("malformed", f"`text` is JSON itself, wrapped twice: {request.text[:60]}")
    return request


def parse_change(kind: type[Changing], payload: bytes) -> Changing:
    """The JSON object of a command that changes the station; an empty body is an empty object.

    Raises RequestError.
    """
    try:
        return kind.model_validate_json(without_mark(payload).strip() or b"{}")
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError("malformed", f"not what this command takes: {problems}") from None


def transaction(payload: bytes) -> str:
    """The requester's own id; empty where there is none."""
    try:
        body = json.loads(without_mark(payload))
    except (ValueError, RecursionError):
        return ""
    text = str(body.get("transaction", "")) if isinstance(body, dict) else ""
    return text[:200].encode("utf-8", "replace").decode()  # JSON can smuggle in half a surrogate pair


def looks_like_json(text: str) -> bool:
    """Whether it begins or ends as JSON does, also where a shell has eaten the quotes or left its own around it."""
    bare = text.strip(WRAPPING + ")")
    return bare[:1] in OPENING or bare[-1:] in CLOSING if bare else False


def _is_number(body: Any) -> bool:
    """A number alone may well be all that somebody says."""
    return isinstance(body, int | float) and not isinstance(body, bool) and math.isfinite(body)


def _read(text: str) -> tuple[bool, Any]:
    """Whether it is JSON, and what it says; a key that comes twice makes it none."""
    try:
        return True, json.loads(text, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError):
        return False, None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        raise ValueError("a key comes twice")
    return body


def _problem(text: str) -> str:
    example = 'send {"text": "..."}, or the sentence alone'
    try:
        json.loads(text, object_pairs_hook=_no_key_twice)
    except ValueError as error:
        return f"begins or ends like JSON and is none ({error}): {example}"
    except RecursionError:
        return f"JSON that is nested too deep: {example}"
    return f"JSON, but no object: {example}"
