"""What the station says, as it arrives at the broker's other clients or goes over the link: who is answered by it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.chaos.account import Account
from tests.chaos.station import TOPICS
from tests.support.packets import acknowledged, published

NOT_DONE = ("expired", "refused", "failed")
"""Outcomes after which nothing may be done any more."""


def request_of(topic: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """The requests that a message answers, each with the code of its refusal."""
    code = str((body.get("error") or {}).get("code", ""))
    kind = topic.removeprefix(f"{TOPICS.base}/").partition("/")[0]
    if kind == "result":
        return [(str(body["part_id"]), "")]
    if kind == "event" and body["event_type"] == "frame_rejected":
        named = [body["part_id"]] if body.get("part_id") else []
        return [(part, code) for part in dict.fromkeys([*named, *(body.get("part_ids") or ())])]
    if kind == "rsp":
        return [(topic.rpartition("/")[2], code)]
    return []


class Watcher:
    """Tells an account what it sees."""

    def __init__(self, account: Account, max_age_s: float) -> None:
        self._account, self._max_age_s = account, max_age_s

    def take(self, topic: str, payload: bytes) -> None:
        kind = topic.removeprefix(f"{TOPICS.base}/").partition("/")[0]
        if kind not in ("result", "event", "rsp"):
            return
        body = json.loads(payload)
        not_done = any(call["outcome"] in NOT_DONE for call in body.get("calls", ()))
        for request, code in request_of(topic, body):
            late = kind == "result" and self._is_late(body)
            self._account.answer(request, body["id"], code, late=late, not_done=not_done)

    def _is_late(self, body: dict[str, Any]) -> bool:
        """A result of an old picture that does not say so."""
        age = datetime.fromisoformat(body["ts"]) - datetime.fromisoformat(body["captured_at"])
        return age.total_seconds() > self._max_age_s and not body.get("late")


def seconds_left(body: dict[str, Any]) -> float:
    """Of a call, by its own clock and this one."""
    return (datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)).total_seconds()


class Tap:
    """On the link between station and broker, for when the broker itself forgets: what the station has acknowledged
    counts as acknowledged, and what the broker has taken from it as said.
    """

    def __init__(self, account: Account, watcher: Watcher) -> None:
        self._account, self._watcher = account, watcher
        self._open: dict[tuple[int, bool, int], tuple[str, bytes]] = {}

    def __call__(self, connection: int, up: bool, packet: bytes) -> None:
        if (message := published(packet)) is not None and message.mid:
            self._open[connection, up, message.mid] = (message.topic, message.payload)
        elif (answer := acknowledged(packet)) is not None:
            mid, taken = answer
            topic, payload = self._open.pop((connection, not up, mid), ("", b""))
            if up and topic:
                self._account.acknowledged(marked_with(payload))
            elif topic and taken:
                self._watcher.take(topic, payload)


def marked_with(payload: bytes) -> str:
    """The request's id, which stands in each body: as its transaction, else behind the last space."""
    if payload.startswith(b"{"):
        return str(json.loads(payload)["transaction"])
    return payload.rpartition(b" ")[2].decode(errors="replace")
