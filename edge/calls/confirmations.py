"""Calls that need a person: asked for on `event/{tool}`, answered on `confirm/{tool}`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from pydantic import ValidationError

from lineside.edge.calls.audited import CallAudit
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError
from lineside.edge.wire.messages import JSON_TYPE, Confirmation, ToolEvent, now
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall

log = logging.getLogger("lineside.confirmations")
MAX_PENDING = 32
"""Fewer than commands may wait at once (`edge.commands.inbox`): questions that nobody answers hold no command up."""


class Confirmations:
    """Holds a call until a person has said yes or no, or the time is over."""

    def __init__(self, topics: Topics, send: Callable[[Outgoing], None], counters: Counters) -> None:
        self._topics, self._send, self._counters = topics, send, counters
        self._condition = threading.Condition()
        self._pending: dict[tuple[str, str], Confirmation | None] = {}
        self._ways: dict[tuple[str, str], str] = {}
        self._asked: dict[tuple[str, str], ToolEvent] = {}
        self._closed = False

    def require(self, call: ToolCall, timeout_s: float, waiting: Callable[[], None], audit: CallAudit) -> str:
        """Wait for a yes; returns who said it. `waiting` is called once the question is on its way; the question and
        the answer are written down.

        Raises:
            RequestError: a no, no answer in time, too many questions at once, or the station is stopping.
        """
        key = (call.name, call.id)
        with self._condition:
            if len(self._pending) >= MAX_PENDING:
                raise RequestError("busy", f"{MAX_PENDING} calls wait for a person already")
            self._pending[key] = None
        expires_at = now() + timedelta(seconds=timeout_s)
        needed = ToolEvent(
            event_type="confirmation_needed",
            tool=call.name,
            call_id=call.id,
            arguments=dict(call.arguments),
            expires_at=expires_at,
        )
        with self._condition:
            self._asked[key] = needed
        audit.asks(call, expires_at)
        self._send(Outgoing(self._topics.event(call.name), needed.encode(), JSON_TYPE, None, expires_at.timestamp()))
        self._counters.add("confirmations_asked")
        waiting()
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while not self._closed and self._pending[key] is None and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)
            answer = self._pending.pop(key)
            self._asked.pop(key, None)
            way = self._ways.pop(key, "")
        audit.answered(call, answer, way)
        self._say_ended(call, answer)
        if answer is None and self._closed:
            raise RequestError("stopping", f"the station stopped while {call.name} waited for a person")
        if answer is None:
            raise RequestError("not_confirmed", f"nobody confirmed {call.name} within {timeout_s:.3g} s")
        if not answer.confirmed:
            raise RequestError("declined", f"{call.name} was declined{_by(answer)}")
        return answer.by

    def waiting(self) -> list[ToolEvent]:
        """The questions that nobody has answered yet, the oldest first."""
        with self._condition:
            return [asked for key, asked in self._asked.items() if self._pending.get(key) is None]

    def _say_ended(self, call: ToolCall, answer: Confirmation | None) -> None:
        """Whoever shows the question can take it away."""
        detail = "expired" if answer is None else f"{'confirmed' if answer.confirmed else 'declined'}{_by(answer)}"
        ended = ToolEvent(event_type="confirmation_ended", tool=call.name, call_id=call.id, detail=detail)
        self._send(Outgoing(self._topics.event(call.name), ended.encode(), JSON_TYPE))

    def handle(self, tool: str, payload: bytes, way: str = "") -> None:
        """An answer, by a message on `confirm/{tool}` or another `way`. What is malformed, late, doubled or for another
        tool changes nothing.
        """
        try:
            answer = Confirmation.model_validate_json(payload)
        except ValidationError:
            self._counters.add("confirmations_malformed")
            log.info('confirm/%s: not a confirmation; {"id": "...", "confirmed": true} would be one', tool)
            return
        with self._condition:
            if self._pending.get((tool, answer.id), answer) is not None:  # not asked, or answered already
                self._counters.add("confirmations_unknown")
                log.info("confirm/%s: no call %s waits for an answer", tool, answer.id)
                return
            self._pending[tool, answer.id] = answer
            self._ways[tool, answer.id] = way or self._topics.confirm(tool)
            self._condition.notify_all()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()


def _by(answer: Confirmation) -> str:
    return f" by {answer.by}" if answer.by else ""
