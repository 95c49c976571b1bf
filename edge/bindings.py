"""What a call does: it is published on `call/{tool}`, and what the actuator answers on `ret/{tool}` is reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from pydantic import ValidationError

from edge.config import ToolConfig
from edge.counters import Counters
from edge.errors import RequestError
from edge.messages import JSON_TYPE, Call, CallReport, Outcome, Return, now
from edge.policy import Policy
from edge.store import Outgoing
from edge.topics import Topics
from runtime.chat import ToolCall

EXPIRY_S = 10.0


class Bindings:
    """Carries out calls that the policy lets through.

    Args:
        send: puts a message into the outbox.
    """

    def __init__(self, topics: Topics, policy: Policy, send: Callable[[Outgoing], None], counters: Counters) -> None:
        self._topics, self._policy, self._send, self._counters = topics, policy, send, counters
        self._condition = threading.Condition()
        self._returned: dict[str, Return | None] = {}
        self._closed = False

    def carry_out(self, call: ToolCall) -> CallReport:
        """Check, publish, wait for the return. Never raises for a refused call: the report says so."""
        arguments = dict(call.arguments)
        try:
            tool = self._policy.check(call)
        except RequestError as error:
            self._counters.add("calls_refused")
            return CallReport(id=call.id, name=call.name, arguments=arguments, outcome="refused", detail=str(error))
        self._counters.add("calls")
        if tool.dry_run:
            return CallReport(id=call.id, name=call.name, arguments=arguments, outcome="dry_run")
        returned = self._publish_and_wait(call, tool)
        if returned is None:
            outcome: Outcome = "expired" if tool.wait_s else "issued"
            detail = f"no return within {tool.wait_s:g} s" if tool.wait_s else ""
            return CallReport(id=call.id, name=call.name, arguments=arguments, outcome=outcome, detail=detail)
        return CallReport(
            id=call.id, name=call.name, arguments=arguments, outcome=returned.outcome, detail=returned.detail
        )

    def _publish_and_wait(self, call: ToolCall, tool: ToolConfig) -> Return | None:
        """The last thing the actuator said; `accepted` is waited on for its end."""
        lifetime_s = tool.wait_s or EXPIRY_S  # once the requester was told `expired`, the call must not go out
        body = Call(
            id=call.id, tool=call.name, arguments=dict(call.arguments), expires_at=now() + timedelta(seconds=lifetime_s)
        )
        with self._condition:
            self._returned[call.id] = None
        self._send(Outgoing(self._topics.call(call.name), body.encode(), JSON_TYPE, None, time.time() + lifetime_s))
        deadline = time.monotonic() + tool.wait_s
        with self._condition:
            while (remaining := deadline - time.monotonic()) > 0 and not self._closed:
                last = self._returned[call.id]
                if last is not None and last.outcome != "accepted":
                    break
                self._condition.wait(remaining)
            return self._returned.pop(call.id)

    def close(self) -> None:
        """End every wait; the replies say that no return came."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def handle_return(self, payload: bytes) -> None:
        """Take in a message on `ret/{tool}`. What is malformed, late or unknown is counted and dropped."""
        try:
            returned = Return.model_validate_json(payload)
        except ValidationError:
            self._counters.add("returns_malformed")
            return
        with self._condition:
            if returned.id not in self._returned:
                self._counters.add("returns_unknown")
                return
            self._returned[returned.id] = returned
            self._condition.notify_all()
