"""One output: a thread that does each job when it is due, ends pulses, holds the safe state, and beats."""

from __future__ import annotations

import contextlib
import heapq
import math
import threading
import time
from collections.abc import Callable
from itertools import count

from lineside.devices.errors import LinkError
from lineside.edge.outputs.job import NOBODY, About, Job
from lineside.edge.outputs.trouble import Trouble
from lineside.edge.outputs.wires import Wire
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.wire.messages import WireOutput

RETRY_S = (0.2, 0.5, 1.0, 2.0)
"""Waiting times before an output that failed is tried again, also where no part comes; the last one repeats."""
SLACK_S = 0.05
"""By so much a job that was there in time may begin behind its `latest`: the machine was busy."""


class Worker:
    """The other end hears from this thread alone.

    Args:
        alive: whether a heartbeat may go out.
    """

    def __init__(
        self, name: str, config: OutputConfig, wire: Wire, trouble: Trouble, alive: Callable[[], bool] = lambda: True
    ) -> None:
        self._name, self._config, self._wire, self._trouble, self._alive = name, config, wire, trouble, alive
        self._condition = threading.Condition()
        self._jobs: list[tuple[float, int, Job]] = []
        self._numbers = count()
        self._reason, self._held, self._closed = "", False, False
        self._pulse_ends = self._retry_at = math.inf
        self._beat_at = time.monotonic() if config.heartbeat_s else math.inf
        self._beats = self._failures = 0
        self._owed: bool | None = None
        self._thread = threading.Thread(target=self._run, name=f"output-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, job: Job) -> None:
        """Returns at once."""
        with self._condition:
            heapq.heappush(self._jobs, (job.due, next(self._numbers), job))
            self._condition.notify()

    def guard(self, reason: str) -> None:
        """Why the safe state is to be held; empty where it is not."""
        with self._condition:
            if (reason == "") != (self._reason == ""):
                self._condition.notify()
            self._reason = reason

    def stop(self) -> None:
        """Set the safe state, and end. Returns at once."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def join(self, timeout_s: float) -> None:
        """Wait until the safe state has been set, and close the wire."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._wire.close()

    # On the output's own thread

    def _run(self) -> None:
        with contextlib.suppress(LinkError):  # the safe state says it
            self._wire.connect()
        self._make_safe()
        while (step := self._next()) is not None:
            step()
        if self._config.safe != "keep":
            self._make_safe()
        elif self._pulse_ends < math.inf or self._owed is not None:
            self._end_pulse()

    def _next(self) -> Callable[[], None] | None:
        """Wait for what is to be done next; None when the station stops."""
        with self._condition:
            while not self._closed:
                if (self._reason != "") != self._held:
                    return self._enter_or_leave
                at, step = min(self._steps(), key=lambda step: step[0])
                left_s = at - time.monotonic()
                if left_s <= 0:
                    return step
                self._condition.wait(None if left_s == math.inf else left_s)
        return None

    def _steps(self) -> tuple[tuple[float, Callable[[], None]], ...]:
        """Of those at the same time the first goes first: a job goes on with a pulse that would end now."""
        due = self._jobs[0][0] if self._jobs else math.inf
        return (
            (due, self._do),
            (self._pulse_ends, self._end_pulse),
            (self._retry_at, self._retry),
            (self._beat_at, self._beat),
        )

    def _do(self) -> None:
        with self._condition:
            job = heapq.heappop(self._jobs)[2]
        if not job.take():
            return
        if self._held and self._config.safe != "keep":
            output = WireOutput(outcome="skipped", detail=f"held in its safe state: {self._reason}")
        elif not job.on and self._pulse_ends < math.inf:
            output = WireOutput(outcome="skipped", detail="the pulse of another part is not cut short")
        else:
            output = self._carry_out(job)
        job.settle(output)

    def _carry_out(self, job: Job) -> WireOutput:
        """Looks at the time again when the connection stands: to make it may have taken too long."""
        late = self._late(job, "the output was busy")
        if not late:
            try:
                self._wire.connect()
            except LinkError as error:
                return WireOutput(outcome="failed", detail=self._unset(job.on, error, pulse=True))
            late = self._late(job, "the connection had to be made first")
        if late:
            if self._config.on_late != "keep":
                self._set(self._config.on_late == "on", NOBODY)
            return WireOutput(outcome="late", detail=late)
        if problem := self._set(job.on, job.about):
            return WireOutput(outcome="failed", detail=problem)
        return job.done(time.monotonic())

    def _late(self, job: Job, why: str) -> str:
        """The sentence where it is; empty where it is not."""
        late_s = time.monotonic() - job.latest
        return f"its turn came {late_s * 1e3:.0f} ms too late: {why}" if late_s > SLACK_S else ""

    def _set(self, on: bool, about: About, *, pulse: bool = True) -> str:
        """Why it could not be; empty where the other side has taken it."""
        try:
            self._wire.set(on, about)
        except LinkError as error:
            return self._unset(on, error, pulse=pulse)
        pulsed = bool(on and pulse and self._config.pulse_s)
        self._pulse_ends = time.monotonic() + self._config.pulse_s if pulsed else math.inf
        self._owed = None
        self._worked()
        return ""

    def _unset(self, on: bool, error: LinkError, *, pulse: bool) -> str:
        """What could not be done leaves something owed; returns why it could not be."""
        pulsed = bool(on and pulse and self._config.pulse_s)
        if pulsed and self._pulse_ends == math.inf:
            self._owed = False  # it may have been switched on all the same
        elif not pulsed:
            self._pulse_ends, self._owed = math.inf, self._safe_level() if on or not self._config.pulse_s else False
        self._failed(error)
        return str(error)

    def _safe_level(self) -> bool | None:
        return None if self._config.safe == "keep" else self._config.safe == "on"

    def _end_pulse(self) -> None:
        self._set(False, NOBODY)

    def _enter_or_leave(self) -> None:
        self._held = not self._held
        if self._config.safe != "keep":
            self._trouble.held(self._name, self._config.safe, self._reason)
            if self._held:
                self._make_safe()

    def _make_safe(self) -> None:
        level = self._safe_level()
        if level is None:
            self._retry()
        elif self._set(level, NOBODY, pulse=False):
            self._owed = level

    def _retry(self) -> None:
        """Set what could not be set, or see whether it can be reached again."""
        self._retry_at = math.inf
        try:
            if self._owed is None:
                if not self._wire.probe():
                    return
            else:
                self._wire.set(self._owed, NOBODY)
                self._owed = None
        except LinkError as error:
            self._failed(error)
        else:
            self._worked()

    def _beat(self) -> None:
        self._beat_at = max(self._beat_at + self._config.heartbeat_s, time.monotonic())
        if not self._alive():
            return
        self._beats += 1
        try:
            self._wire.count(self._beats)
        except LinkError as error:
            self._failed(error)
        else:
            self._worked()

    def _failed(self, error: LinkError) -> None:
        self._trouble.failed(self._name, str(error))
        self._retry_at = time.monotonic() + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1

    def _worked(self) -> None:
        self._retry_at, self._failures = math.inf, 0
        self._trouble.worked(self._name)
