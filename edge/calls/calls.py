"""A call's way: policy, a person where one is needed, the store, the binding; and a report of what was really done."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lineside import __version__
from lineside.edge.audit.log import AuditLog
from lineside.edge.calls.audited import Asked, CallAudit, may_act
from lineside.edge.calls.bindings import Binding, Done
from lineside.edge.calls.bindings.actuator import ActuatorBinding
from lineside.edge.calls.bindings.publish import PublishBinding
from lineside.edge.calls.bindings.python import PythonBinding
from lineside.edge.calls.bindings.query import QueryBinding
from lineside.edge.calls.confirmations import Confirmations
from lineside.edge.calls.guard import Guard
from lineside.edge.calls.policy import Policy
from lineside.edge.calls.running import Running
from lineside.edge.calls.states import States
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.drain import Drain
from lineside.edge.errors import RequestError, StoreError
from lineside.edge.steady import unix_time
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store, StoredCall
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import ToolCall

if TYPE_CHECKING:
    from lineside.edge.calls.kuksa import KuksaLink

log = logging.getLogger("lineside.calls")
MAX_RESULT_BYTES = 16 * 1024
MAX_DETAIL_CHARACTERS = 1000


@dataclass(frozen=True)
class Rules:
    """The tools of a station file: which calls pass, what their devices say, and how they are carried out."""

    policy: Policy
    states: States
    bindings: Mapping[str, Binding]
    audit: CallAudit


class Calls:
    """Carries out the calls of one station.

    Args:
        others: bindings besides those for actuators, topics and functions.
        drain: how long a call that is being carried out has to end when the station stops.
        degraded: where the audit log says what it lacks.

    Attributes:
        rules: those of the station file as it is now; `exchange` replaces them.
        kuksa: the databroker, where there is one.

    Raises:
        ConfigError: a tool's policy or binding makes no sense, or the audit log's folder cannot be made.
        AuditError: another daemon has it.
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
        drain: Drain | None = None,
        degraded: Degraded | None = None,
    ) -> None:
        self._degraded = degraded or Degraded()
        self._audit_log: AuditLog | None = None
        self._store, self._connection, self._counters = store, connection, counters
        self._closed = threading.Event()
        self.confirmations = Confirmations(topics, outbox.put, counters)
        self.actuators = ActuatorBinding(topics, outbox.put, counters)
        outbox.on_given_up.append(self.actuators.never_sent)
        self._others = dict(others or {})
        self.kuksa = _open_kuksa(config, self._degraded, counters) if config.kuksa.address else None
        self._running, self._drain = Running(), drain or Drain(0.0)
        self._lock = threading.Lock()
        self._former: list[Rules] = []
        self.rules = self.make_rules(config)
        self._remember(self.rules)

    @property
    def policy(self) -> Policy:
        return self.rules.policy

    @property
    def states(self) -> States:
        return self.rules.states

    def make_rules(self, config: Config) -> Rules:
        """Rules for a station file that is not in use yet. Raises ConfigError, AuditError."""
        states = States(config.tools, self._counters, also=config.safety.states)
        policy = Policy(config.tools, config.station.timezone, guard=Guard(config.tools, config.safety, states))
        bindings: dict[str, Binding] = {
            "actuator": self.actuators,
            "publish": PublishBinding(config.tools, self._connection),
            "python": PythonBinding(config.tools),
            "query": QueryBinding(config.tools, states),
        }
        if self.kuksa is not None:
            from lineside.edge.calls.bindings.kuksa import KuksaBinding

            bindings["kuksa"] = KuksaBinding(config.tools, self.kuksa)
        return Rules(policy, states, bindings | self._others, CallAudit(self._audit_of(config), config.tools))

    def _audit_of(self, config: Config) -> AuditLog | None:
        """Opened where it is wanted for the first time, and kept open."""
        wanted = config.audit.enabled if config.audit.enabled is not None else may_act(config.tools)
        if wanted and self._audit_log is None:
            first = {"station": config.station.name, "version": __version__}
            self._audit_log = AuditLog(config.audit_path, config.audit, first, self._counters, self._degraded)
        return self._audit_log if wanted else None

    def exchange(self, rules: Rules) -> None:
        """From now on these decide. What the former ones let through counts, and is waited for as long as a station
        that stops would; what still runs then goes on as it began, and its state is not heard any more.

        Raises StoreError: nothing has changed.
        """
        with self._lock:
            ended = self._running.wait(self._drain.limit_s)
            self._remember(rules)
            self._former = [] if ended else [*self._former, self.rules]
            self.rules = rules

    def _remember(self, rules: Rules) -> None:
        for tool, passed in self._store.passed_calls():
            rules.policy.remember(tool, unix_time() - passed)

    def carry_out(
        self,
        call: ToolCall,
        *,
        deadline: float,
        begin: Callable[[], None] = lambda: None,
        waiting: Callable[[], None] = lambda: None,
        rules: Rules | None = None,
        asked: Asked | None = None,
    ) -> CallReport:
        """Never raises for a refused call: the report says so, and the audit log does.

        Args:
            deadline: on `time.monotonic()`; nothing is begun after it.
            begin: called when the call is let through, before anything is done.
            rules: those that the call was chosen by; where others have come meanwhile, it is refused.
            waiting: called before the first wait for a person or a tool.
            asked: who asked for it, for the audit log.

        Raises:
            StoreError: the call cannot be noted down. It was not carried out.
        """
        rules, asked = rules or self.rules, asked or Asked()
        report = CallReport(id=call.id, name=call.name, arguments=dict(call.arguments), outcome="refused")
        try:
            if (earlier := self._store.find_call(call.id)) is not None:
                return self._again(call, earlier, rules, asked)
            tool = rules.policy.check(call)
            self._check_time(deadline)
            confirmed_by = None
            if tool.confirm_s and not tool.dry_run:
                within_s = min(tool.confirm_s, deadline - time.monotonic())
                confirmed_by = self.confirmations.require(call, within_s, waiting, rules.audit)
                self._check_time(deadline)
            if tool.dry_run:
                rules.audit.begun(call, tool, asked, confirmed_by)
                return report.model_copy(update={"outcome": "dry_run"})
            earlier = self._admit(call, rules, begin, partial(rules.audit.begun, call, tool, asked, confirmed_by))
        except RequestError as error:
            self._counters.add("calls_refused", reason=error.code)
            report = report.model_copy(update={"code": error.code, "detail": str(error)})
            rules.audit.refused(report, asked)
            return report
        if earlier is not None:
            return self._again(call, earlier, rules, asked)
        try:
            return self._invoke(call, tool, rules, report, waiting)
        finally:
            self._running.end()

    def _admit(
        self, call: ToolCall, rules: Rules, begin: Callable[[], None], write_down: Callable[[], None]
    ) -> StoredCall | None:
        """The last look before it is let through, and what counts it, in memory and on disk; from then on it runs.

        Returns the call that had this id before, where one had. Raises RequestError, StoreError.
        """
        with self._lock:
            if self.rules is not rules:
                raise RequestError("station_changed", f"the station file changed before {call.name}: say it again")
            rules.policy.admit(call)
            try:
                write_down()
                begin()
                earlier = self._store.begin_call(call.id, call.name, _canonical(call))
            except (RequestError, StoreError) as error:
                rules.policy.take_back(call.name)
                if isinstance(error, StoreError):
                    rules.audit.ended(_not_begun(call, error))
                raise
            if earlier is None:
                self._running.begin()
        return earlier

    def _check_time(self, deadline: float) -> None:
        if self._closed.is_set():
            raise RequestError("stopping", "the station is stopping: nothing was called")
        if time.monotonic() >= deadline:
            raise RequestError("deadline", "the command has expired: nothing was called")

    def _invoke(
        self, call: ToolCall, tool: ToolConfig, rules: Rules, report: CallReport, waiting: Callable[[], None]
    ) -> CallReport:
        """The boundary of what a tool may do to the daemon: whatever happens, there is a report."""
        self._counters.add("calls")
        try:
            done = self._do(call, tool, rules, waiting)
        except Exception as error:  # counted, logged, reported
            log.exception("%s failed", call.name)
            self._counters.add("calls_failed")
            done = Done("failed", f"unexpected: {error!r}")
        report = report.model_copy(update=_bounded(done))
        rules.audit.ended(report)
        try:
            self._store.end_call(call.id, report.model_dump_json())
        except StoreError as error:  # it was carried out all the same
            self._counters.add("store_errors")
            log.error("%s", error)
        return report

    def _do(self, call: ToolCall, tool: ToolConfig, rules: Rules, waiting: Callable[[], None]) -> Done:
        """Carry it out, and wait for the state that it asks for, where the tool has one."""
        binding, states = rules.bindings[tool.binding], rules.states
        watch = states.watch(call, tool)
        if watch is None:
            return binding.invoke(call, tool, waiting)
        try:
            done = binding.invoke(call, tool, waiting)
            if done.outcome in ("failed", "refused"):
                return done
            if not states.wait(watch):
                return replace(done, detail=f"{done.detail}; the station stopped before {watch.topic} said more")
            return watch.outcome(done, states.when)
        finally:
            states.close_watch(watch)

    def _again(self, call: ToolCall, earlier: StoredCall, rules: Rules, asked: Asked) -> CallReport:
        """A call id that was let through already: the report is given again, the call not carried out again."""
        self._counters.add("calls_repeated")
        report = _repeated(call, earlier)
        rules.audit.repeated(report, asked)
        return report

    def close(self) -> None:
        """Let nothing more through, and wait for no person. A call that is being carried out has what is left of the
        time to drain; then its wait ends, and its report says so.
        """
        self._closed.set()
        self.confirmations.close()
        self._running.wait(self._drain.left_s())
        for rules in (*self._former, self.rules):
            rules.states.close()
            for binding in rules.bindings.values():
                binding.close()
        if self.kuksa is not None:
            self.kuksa.close()

    def close_audit(self) -> None:
        """When no call runs any more."""
        if self._audit_log is not None:
            self._audit_log.close()


def _open_kuksa(config: Config, degraded: Degraded, counters: Counters) -> KuksaLink:
    """Its library is loaded for those who have a databroker alone."""
    from lineside.edge.calls.kuksa import KuksaLink

    return KuksaLink(config.kuksa, config.resolve, degraded, counters)


def _repeated(call: ToolCall, earlier: StoredCall) -> CallReport:
    report = CallReport(id=call.id, name=call.name, arguments=dict(call.arguments), outcome="refused")
    if (earlier.tool, earlier.arguments) != (call.name, _canonical(call)):
        detail = f"the id {call.id} was used for another call"
        return report.model_copy(update={"code": "duplicate_id", "detail": detail})
    if earlier.report is None:
        detail = "begun already, and not known how it ended: not called again"
        return report.model_copy(update={"code": "in_doubt", "detail": detail})
    return CallReport.model_validate_json(earlier.report)


def _not_begun(call: ToolCall, error: StoreError) -> CallReport:
    return CallReport(id=call.id, name=call.name, arguments={}, outcome="refused", code="storage", detail=str(error))


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
