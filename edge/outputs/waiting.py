"""Results that wait for what their outputs really did."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lineside.devices.cameras.frame import Frame
from lineside.edge.outputs.job import Job
from lineside.edge.wire.messages import InspectionResult, WireOutput


@dataclass
class Part:
    """A result with the outputs that are settled, and the jobs of those that are not.

    Attributes:
        limits: by output, `time.monotonic()` at which the result does not wait for it any longer.
    """

    frame: Frame
    result: InspectionResult
    settled: dict[str, WireOutput]
    jobs: dict[str, Job] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.jobs.keys() <= self.settled.keys()

    def to_send(self) -> InspectionResult:
        """The result with what is known of its outputs."""
        return self.result.model_copy(update={"outputs": dict(sorted(self.settled.items()))})

    def if_killed(self) -> InspectionResult:
        """The result as it goes out where the station ends before all is known."""
        begun = WireOutput(outcome="repeated", detail="already begun before a restart: not done again")
        return self.result.model_copy(update={"outputs": dict.fromkeys(self.jobs, begun) | self.settled})


class Waiting:
    """Gives each result out as soon as all of its outputs are settled, or its time is over; none waits for another.

    Args:
        give: gives one out, on a thread of this one's own.
    """

    def __init__(self, give: Callable[[Frame, InspectionResult], None]) -> None:
        self._give = give
        self._condition = threading.Condition()
        self._parts: list[Part] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, part: Part) -> None:
        """Before any of its jobs can be settled."""
        with self._condition:
            if not self._closed:
                self._parts.append(part)
                self._condition.notify()
                return
            self._give_up_all(part)
        self._give(part.frame, part.to_send())

    def settle(self, part: Part, name: str, output: WireOutput) -> None:
        """The first word on an output is the last. From any thread; returns at once."""
        with self._condition:
            part.settled.setdefault(name, output)
            if part.whole:
                self._condition.notify()

    def close(self) -> None:
        """Give out what waits, with what is known: what has not begun is not done any more."""
        with self._condition:
            self._closed = True
            for part in self._parts:
                self._give_up_all(part)
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _give_up_all(self, part: Part) -> None:
        self._give_up(part, dict.fromkeys(part.jobs, WireOutput(outcome="failed", detail=STOPPED)))

    def _give_up(self, part: Part, unbegun: Mapping[str, WireOutput]) -> None:
        for name, instead in unbegun.items():
            if name not in part.settled:
                begun = not part.jobs[name].take()
                part.settled[name] = WireOutput(outcome="failed", detail=NO_ANSWER) if begun else instead

    def _run(self) -> None:
        while (part := self._next()) is not None:
            self._give(part.frame, part.to_send())

    def _next(self) -> Part | None:
        """Wait for a result that can go; None when all have gone and the station stops."""
        with self._condition:
            while self._parts or not self._closed:
                now = time.monotonic()
                for part in self._parts:
                    over = [name for name in part.jobs if part.limits[name] <= now]
                    self._give_up(part, dict.fromkeys(over, WireOutput(outcome="failed", detail=BUSY)))
                    if part.whole:
                        self._parts.remove(part)
                        return part
                left = [
                    part.limits[name] - now for part in self._parts for name in part.jobs if name not in part.settled
                ]
                self._condition.wait(min(left) if left else None)
        return None


NO_ANSWER = "it was begun, and nobody knows what came of it: the other side has not answered"
STOPPED = "the station stopped before it was due"
BUSY = "not begun: the output was busy until its time was over"
