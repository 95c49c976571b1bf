"""A call is published on `call/{tool}`; what the actuator answers on `ret/{tool}` is what was done."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from pydantic import ValidationError

from lineside.edge.calls.bindings import Done
from lineside.edge.counters import Counters
from lineside.edge.steady import unix_time
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import JSON_TYPE, Call, Return, now
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.strict_json import load_json

log = logging.getLogger("lineside.bindings")
EXPIRY_S = 10.0
REMEMBERED = 1000


class ActuatorBinding:
    """Speaks with actuators over MQTT.

    Args:
        send: puts a message into the outbox.
    """

    def __init__(self, topics: Topics, send: Callable[[Outgoing], None], counters: Counters) -> None:
        self._topics, self._send, self._counters = topics, send, counters
        self._condition = threading.Condition()
        self._returned: dict[str, tuple[str, Return | None]] = {}
        self._finished: deque[str] = deque(maxlen=REMEMBERED)
        self._closed = False

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """The last thing the actuator said; `accepted` is waited on for its end."""
        lifetime_s = tool.wait_s or EXPIRY_S  # once the requester was told `expired`, the call must not go out
        body = Call(
            id=call.id, tool=call.name, arguments=dict(call.arguments), expires_at=now() + timedelta(seconds=lifetime_s)
        )
        with self._condition:
            self._returned[call.id] = (call.name, None)
        self._send(Outgoing(self._topics.call(call.name), body.encode(), JSON_TYPE, None, unix_time() + lifetime_s))
        waiting()
        deadline = time.monotonic() + tool.wait_s
        with self._condition:
            while (remaining := deadline - time.monotonic()) > 0 and not self._closed:
                last = self._returned[call.id][1]
                if last is not None and last.outcome != "accepted":
                    break
                self._condition.wait(remaining)
            returned = self._returned.pop(call.id)[1]
            self._finished.append(call.id)
        if returned is None and self._closed:
            return Done("issued", "the station stopped before a return came")
        if returned is None:
            return Done("expired", f"no return within {tool.wait_s:g} s") if tool.wait_s else Done("issued")
        return Done(returned.outcome, returned.detail, returned.result)

    def close(self) -> None:
        """End every wait; the replies say that no return came."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def never_sent(self, message: Outgoing, why: str) -> None:
        """The broker does not take a message of the outbox: where it was a call, nobody will carry it out."""
        try:
            call = Call.model_validate_json(message.payload)
        except ValidationError:
            return
        with self._condition:
            if call.id in self._returned:
                self._returned[call.id] = (call.tool, Return(id=call.id, outcome="failed", detail=f"not sent: {why}"))
                self._condition.notify_all()

    def handle(self, tool: str, payload: bytes) -> None:
        """Take in a message on `ret/{tool}`. What is malformed, late, doubled or unknown is counted and dropped."""
        try:
            returned = Return.model_validate_json(payload)
            load_json(json.dumps(returned.result))
        except (ValidationError, ValueError):
            self._drop("returns_malformed", tool, 'not a return; {"id": "...", "outcome": "achieved"} would be one')
            return
        with self._condition:
            name, last = self._returned.get(returned.id, ("", None))
            if name != tool:
                late = returned.id in self._finished
                self._drop("returns_late" if late else "returns_unknown", tool, f"no call {returned.id} is waited for")
            elif last is not None and last.outcome != "accepted":
                self._drop("returns_doubled", tool, f"{returned.id} was returned already")
            else:
                self._returned[returned.id] = (name, returned)
                self._condition.notify_all()

    def _drop(self, counter: str, tool: str, why: str) -> None:
        self._counters.add(counter)
        log.info("ret/%s: %s", tool, why)
