"""`cmd/call`: a tool by its name with its arguments, from programs that need no sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from lineside.edge.calls.audited import Asked
from lineside.edge.calls.bindings.query import answered
from lineside.edge.calls.calls import call_id
from lineside.edge.commands.body import parse_change
from lineside.edge.commands.outcome import undone
from lineside.edge.errors import RequestError
from lineside.edge.live.reload import Station
from lineside.edge.steady import unix_time
from lineside.edge.wire.changes import CallCommand
from lineside.edge.wire.messages import Reply
from lineside.edge.wire.store import StoredCommand
from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.language import recognise


class CallCommands:
    """The policy, a person where one is needed, the store and the audit log stand before it as before any call."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def call(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """Raises RequestError, StoreError: nothing was called."""
        request = parse_change(CallCommand, command.payload)
        left_s = command.expires - unix_time()
        if request.expires_at is not None:
            left_s = min(left_s, (request.expires_at - datetime.now(request.expires_at.tzinfo)).total_seconds())
        if left_s <= 0:
            raise RequestError("expired", "the command expired before it could be handled")
        station = self._station
        report = station.calls.carry_out(
            ToolCall(call_id(command.digest, 0), request.tool, request.arguments),
            deadline=time.monotonic() + left_s,
            begin=lambda: station.store.mark_started(command),
            waiting=waiting,
            asked=Asked(command.digest[:32], command.response_topic, request.transaction, decided_by="request"),
        ).model_copy(update={"decided_by": "request"})
        error = undone([report], recognise(""))
        return Reply(
            command=command.name,
            transaction=request.transaction,
            ok=error is None,
            text=answered([report], station.config.tools),
            calls=[report],
            error=error,
        )
