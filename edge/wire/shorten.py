"""A message that is too large for the broker, in fewer bytes: what matters most, and that something is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lineside.edge.wire.messages import JSON_TYPE, Event, InspectionResult, Reply, WireError
from lineside.edge.wire.store import Outgoing

CODE = "too_large"
TEXT_CHARACTERS = 200
UNKNOWN_LIMIT_BYTES = 1024
"""What is made of a message where the broker does not say how much it takes, but closes the connection."""


def shorten(message: Outgoing, room: int | None) -> Outgoing | None:
    """The message with a payload of at most `room` bytes; None where nothing of it fits, or it is short already."""
    limit = UNKNOWN_LIMIT_BYTES if room is None else room
    try:
        body = json.loads(message.payload)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    for shorter in _shorter(body, f"{len(message.payload)} bytes are more than the broker takes"):
        payload = json.dumps(shorter, ensure_ascii=False).encode()
        if len(payload) <= limit and len(payload) < len(message.payload):
            return replace(message, payload=payload)
    return None


def farewell(message: Outgoing, why: str) -> Outgoing | None:
    """The event that stands for a result which cannot be sent at all; None for another message."""
    base, found, camera = message.topic.rpartition("/result/")
    if not found:
        return None
    try:
        body = json.loads(message.payload)
    except ValueError:
        body = {}
    part, name = (str(body.get(key, ""))[:TEXT_CHARACTERS] for key in ("part_id", "name"))
    error = WireError(code=CODE, message=why)
    event = Event(event_type="result_not_sent", camera=camera, name=name, part_id=part, error=error)
    return Outgoing(f"{base}/event/{camera}", event.encode(), JSON_TYPE)


def _shorter(body: dict[str, Any], why: str) -> Iterator[dict[str, Any]]:
    """Ever shorter ones."""
    if body.get("schema") == Reply.SCHEMA:
        yield from _replies(body, why)
    elif body.get("schema") == InspectionResult.SCHEMA:
        yield {key: value for key, value in body.items() if key != "report"} | _incomplete()
        yield (
            {key: value for key, value in body.items() if key not in ("report", "gate")}
            | {"defects": []}
            | _incomplete()
        )
    elif body.get("schema") == Event.SCHEMA:
        yield {key: _cut(value) for key, value in body.items() if key != "error"} | {
            "error": {"code": body.get("error", {}).get("code", CODE), "message": _cut(why)}
        }


def _incomplete() -> dict[str, Any]:
    return {"complete": False, "finish_reason": CODE}


def _replies(body: dict[str, Any], why: str) -> Iterator[dict[str, Any]]:
    """An error with the same transaction: what came of the calls counts more than what was said."""
    short: dict[str, Any] = {key: body[key] for key in ("id", "ts", "schema", "command", "transaction") if key in body}
    short |= {"ok": False, "text": "", "error": {"code": CODE, "message": why}, "timing_ms": {}}
    calls = body.get("calls", [])
    yield short | {"calls": [{key: call[key] for key in call if key != "result"} for call in calls]}
    outcomes = [
        {key: call.get(key, "") for key in ("id", "name", "outcome", "code")} | {"arguments": {}, "detail": ""}
        for call in calls
    ]
    yield short | {"calls": outcomes}
    yield short | {"calls": []}


def _cut(value: Any) -> Any:
    return value[:TEXT_CHARACTERS] if isinstance(value, str) else value
