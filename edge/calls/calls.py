"""A call's way: policy, a person where one is needed, the store, the binding; and a report of what was really done."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lineside.edge.calls.bindings import Binding, Done
from lineside.edge.calls.bindings.actuator import ActuatorBinding
from lineside.edge.calls.bindings.publish import PublishBinding
from lineside.edge.calls.bindings.python import PythonBinding
from lineside.edge.calls.bindings.query import QueryBinding
from lineside.edge.calls.confirmations import Confirmations
from lineside.edge.calls.policy import Policy
from lineside.edge.calls.states import States
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError, StoreError
from lineside.edge.steady import unix_time
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store, StoredCall
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall

log = logging.getLogger("lineside.calls")
MAX_RESULT_BYTES = 16 * 1024
MAX_DETAIL_CHARACTERS = 1000


class Calls:
    """Carries out the calls of one station.

    Args:
        others: bindings besides those for actuators, topics and functions.

    Raises:
        ConfigError: a tool's policy or binding makes no sense.
    """

    def __init__(
        self,
        config: Config,
        topics: Topics,
        store: Store,
        outbox: Outbox,
        connection: Connection,
        counters: Counters,
        others: Mapping[str, Binding] | None = None,
    ) -> None:
        self._store, self._counters = store, counters
        self._closed = threading.Event()
        self.policy = Policy(config.tools, config.station.timezone)
        for tool, passed in store.passed_calls():
            self.policy.remember(tool, unix_time() - passed)
        self.confirmations = Confirmations(topics, outbox.put, counters)
        self.states = States(config.tools, counters)
        self.actuators = ActuatorBinding(topics, outbox.put, counters)
        outbox.on_given_up.append(self.actuators.never_sent)
        self._bindings: Mapping[str, Binding] = {
            "actuator": self.actuators,
            "publish": PublishBinding(config.tools, connection),
            "python": PythonBinding(config.tools),
            "query": QueryBinding(config.tools, self.states),
            **(others or {}),
        }

    def carry_out(
        self,
        call: ToolCall,
        *,
        deadline: float,
        begin: Callable[[], None] = lambda: None,
        waiting: Callable[[], None] = lambda: None,
    ) -> CallReport:
        """Never raises for a refused call: the report says so.

        Args:
            deadline: on `time.monotonic()`; nothing is begun after it.
            begin: called when the call is let through, before anything is done.
            waiting: called before the first wait for a person or a tool.

        Raises:
            StoreError: the call cannot be noted down. It was not carried out.
        """
        report = CallReport(id=call.id, name=call.name, arguments=dict(call.arguments), outcome="refused")
        try:
            if (earlier := self._store.find_call(call.id)) is not None:
                return self._again(call, earlier)
            tool = self.policy.check(call)
            self._check_time(deadline)
            if tool.confirm_s and not tool.dry_run:
                self.confirmations.require(call, min(tool.confirm_s, deadline - time.monotonic()), waiting)
                self._check_time(deadline)
            if tool.dry_run:
                return report.model_copy(update={"outcome": "dry_run"})
            self.policy.admit(call)
        except RequestError as error:
            self._counters.add("calls_refused", reason=error.code)
            return report.model_copy(update={"code": error.code, "detail": str(error)})
        try:
            begin()
            earlier = self._store.begin_call(call.id, call.name, _canonical(call))
        except StoreError:
            self.policy.take_back(call.name)
            raise
        if earlier is not None:
            return self._again(call, earlier)
        return self._invoke(call, tool, report, waiting)

    def _check_time(self, deadline: float) -> None:
        if self._closed.is_set():
            raise RequestError("stopping", "the station is stopping: nothing was called")
        if time.monotonic() >= deadline:
            raise RequestError("deadline", "the command has expired: nothing was called")

    def _invoke(self, call: ToolCall, tool: ToolConfig, report: CallReport, waiting: Callable[[], None]) -> CallReport:
        """The boundary of what a tool may do to the daemon: whatever happens, there is a report."""
        self._counters.add("calls")
        try:
            done = self._do(call, tool, waiting)
        except Exception as error:  # counted, logged, reported
            log.exception("%s failed", call.name)
            self._counters.add("calls_failed")
            done = Done("failed", f"unexpected: {error!r}")
        report = report.model_copy(update=_bounded(done))
        try:
            self._store.end_call(call.id, report.model_dump_json())
        except StoreError as error:  # it was carried out all the same
            self._counters.add("store_errors")
            log.error("%s", error)
        return report

    def _do(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """Carry it out, and wait for the state that it asks for, where the tool has one."""
        watch = self.states.watch(call, tool)
        if watch is None:
            return self._bindings[tool.binding].invoke(call, tool, waiting)
        try:
            done = self._bindings[tool.binding].invoke(call, tool, waiting)
            if done.outcome in ("failed", "refused"):
                return done
            if not self.states.wait(watch):
                return replace(done, detail=f"{done.detail}; the station stopped before {watch.topic} said more")
            return watch.outcome(done, self.states.when)
        finally:
            self.states.close_watch(watch)

    def _again(self, call: ToolCall, earlier: StoredCall) -> CallReport:
        """A call id that was let through already: the report is given again, the call not carried out again."""
        self._counters.add("calls_repeated")
        report = CallReport(id=call.id, name=call.name, arguments=dict(call.arguments), outcome="refused")
        if (earlier.tool, earlier.arguments) != (call.name, _canonical(call)):
            return report.model_copy(
                update={"code": "duplicate_id", "detail": f"the id {call.id} was used for another call"}
            )
        if earlier.report is None:
            return report.model_copy(
                update={"code": "in_doubt", "detail": "begun already, and not known how it ended: not called again"}
            )
        return CallReport.model_validate_json(earlier.report)

    def close(self) -> None:
        """End every wait, and let nothing more through."""
        self._closed.set()
        self.confirmations.close()
        self.states.close()
        for binding in self._bindings.values():
            binding.close()


def _bounded(done: Done) -> dict[str, Any]:
    """What fits into a reply, and is text that can be encoded."""
    detail = done.detail.encode("utf-8", "replace").decode()
    result, size = done.result, len(json.dumps(done.result))
    if size > MAX_RESULT_BYTES:
        result, detail = (
            None,
            f"{detail} (its result of {size} bytes is left out: {MAX_RESULT_BYTES} are taken)".strip(),
        )
    if len(detail) > MAX_DETAIL_CHARACTERS:
        detail = f"{detail[:MAX_DETAIL_CHARACTERS]}..."
    return {"outcome": done.outcome, "detail": detail, "result": result, "code": done.code}


def call_id(request: str, index: int) -> str:
    """The id of the `index`-th call that a command leads to: the same whenever the command is handled again."""
    return hashlib.sha256(f"{request}/{index}".encode()).hexdigest()[:20]


def _canonical(call: ToolCall) -> str:
    return json.dumps(dict(call.arguments), sort_keys=True)
