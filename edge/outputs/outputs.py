"""All outputs of a station: from a verdict to what each has to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from lineside.devices.cameras.frame import Frame
from lineside.edge.errors import EdgeError
from lineside.edge.frames.answers import Answers
from lineside.edge.outputs.job import NOBODY, About, Job
from lineside.edge.outputs.trouble import Trouble
from lineside.edge.outputs.waiting import Part, Waiting
from lineside.edge.outputs.wires import Wire
from lineside.edge.outputs.worker import Worker
from lineside.edge.outputs_config import Level, OutputConfig
from lineside.edge.wire.messages import InspectionResult, Verdict, WireOutput

log = logging.getLogger("lineside.outputs")
LOOK_S = 0.1
"""How often it is looked whether the safe state is to be held."""
REACTION_S = 0.5
"""A result waits for an output until it is due, twice its `timeout_s` and so long more."""


class Outputs:
    """Takes the place of `Answers.give`. Nothing here holds up whoever calls it, however slow an output is.

    Args:
        unfit: why an output must hold its safe state; empty where it need not.
        alive: whether heartbeats may go out.
    """

    def __init__(
        self,
        config: Mapping[str, OutputConfig],
        wires: Mapping[str, Wire],
        answers: Answers,
        trouble: Trouble,
        max_age_s: float,
        unfit: Callable[[OutputConfig], str],
        alive: Callable[[], bool],
    ) -> None:
        self._config, self._answers, self._trouble = dict(config), answers, trouble
        self._max_age_s, self._unfit = max_age_s, unfit
        self._workers = {name: Worker(name, config[name], wires[name], trouble, alive) for name in config}
        self._waiting = Waiting(self._release)
        self._stop = threading.Event()
        self._guard = threading.Thread(target=self._watch, name="outputs-guard", daemon=True)

    def start(self) -> None:
        for worker in self._workers.values():
            worker.start()
        self._waiting.start()
        self._guard.start()

    def close(self) -> None:
        """Results go out as they are, and every output into its safe state; both in bounded time."""
        self._stop.set()
        self._waiting.close()
        for worker in self._workers.values():
            worker.stop()
        for name, worker in self._workers.items():
            worker.join(2 * self._config[name].timeout_s + REACTION_S)

    def deliver(self, frame: Frame, result: InspectionResult) -> None:
        """Give the result out once its outputs have done what the verdict asks for; on disk before any of them does."""
        about = {
            "verdict": result.verdict,
            "camera": result.camera,
            "part_id": result.part_id,
            "id": result.id,
            "captured_at": result.captured_at.isoformat(),
        }
        part = Part(frame, result, {})
        for name, config in self._config.items():
            if config.takes(result.camera):
                self._decide(part, name, config, self._level(config, result.verdict), about)
        if not part.settled and not part.jobs:
            self._answers.give(frame, result)
            return
        for name in [name for name, output in part.settled.items() if output.outcome == "late"]:
            self._put_late(name, self._config[name])
        if not part.jobs:
            self._count(part.settled)
            self._answers.give(frame, part.to_send())
            return
        self._answers.hold(frame, part.if_killed())
        self._waiting.add(part)
        for name, job in part.jobs.items():
            self._workers[name].put(job)

    def rejected(self, frame: Frame) -> None:
        """A frame that has no verdict: `on_error` says what that does."""
        for name, config in self._config.items():
            if not config.takes(frame.camera) or self._nothing_to_do(config, config.on_error) or self._stop.is_set():
                continue
            about = {**NOBODY, "camera": frame.camera, "part_id": frame.part_id, "id": frame.id}
            job = self._job(config, frame, on=config.on_error == "on", about=about)
            if self._late(job, frame):
                self._put_late(name, config)
            else:
                self._workers[name].put(job)

    def _decide(self, part: Part, name: str, config: OutputConfig, level: Level, about: About) -> None:
        job = self._job(config, part.frame, on=level == "on", about=about)
        if self._stop.is_set():
            part.settled[name] = WireOutput(outcome="skipped", detail="the station stops")
        elif self._nothing_to_do(config, level):
            part.settled[name] = WireOutput(outcome="skipped")
        elif late := self._late(job, part.frame):
            part.settled[name] = WireOutput(outcome="late", detail=late)
        else:
            job.settle = partial(self._waiting.settle, part, name)
            part.jobs[name] = job
            part.limits[name] = max(job.due, time.monotonic()) + 2 * config.timeout_s + REACTION_S

    def _release(self, frame: Frame, result: InspectionResult) -> None:
        self._count(result.outputs or {})
        self._answers.release(frame, result)

    def _count(self, settled: Mapping[str, WireOutput]) -> None:
        for name, output in settled.items():
            self._trouble.ended(name, output.outcome)

    def _put_late(self, name: str, config: OutputConfig) -> None:
        if config.on_late != "keep":
            now = time.monotonic()
            self._workers[name].put(Job(config.on_late == "on", now, now, now + self._max_age_s))

    def _job(self, config: OutputConfig, frame: Frame, on: bool, about: About) -> Job:
        moment, latest_s = frame.received, config.latest_s(self._max_age_s)
        return Job(on, moment, moment + config.delay_s, moment + latest_s, about)

    def _late(self, job: Job, frame: Frame) -> str:
        """Why it is too late; empty where it is not."""
        if not frame.moment_known:
            return "delivered again, without `captured_at`: nobody knows when the part was captured"
        over_s = time.monotonic() - job.latest
        return f"the verdict came {over_s * 1e3:.0f} ms too late" if over_s > 0 else ""

    def _level(self, config: OutputConfig, verdict: Verdict) -> Level:
        if verdict in config.verdicts:
            return "on"
        return config.on_unsure if verdict == "unsure" else "off"

    def _nothing_to_do(self, config: OutputConfig, level: Level) -> bool:
        """A pulse ends by itself; what a verdict ends is a safe state that is on."""
        return level == "keep" or (level == "off" and config.pulse_s > 0 and config.safe != "on")

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            for name, worker in self._workers.items():
                try:
                    worker.guard(self._unfit(self._config[name]))
                except EdgeError as error:
                    log.error("%s", error)
                    worker.guard(str(error))
