"""Asks live cameras for the first frame after a trigger: a thread for each camera of each trigger, in their order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from lineside.devices.cameras.frame import Frame
from lineside.edge.errors import RequestError
from lineside.edge.frames.mailbox import Work
from lineside.edge.wire.views import WireMissing

log = logging.getLogger("lineside.triggers")
After = Callable[[str, float, float], Frame]
"""`(camera, moment, timeout_s)`: the first frame captured at `moment` or later. Raises RequestError."""


@dataclass(frozen=True)
class _Asked:
    earliest: float
    deadline: float
    settle: Callable[[str, Work | WireMissing], None]


class LiveCameras:
    """Whoever asks is told of the frame, or of what is wrong, by the deadline."""

    def __init__(self, after: After) -> None:
        self._after = after
        self._lock = threading.Lock()
        self._queues: dict[tuple[str, str], SimpleQueue[_Asked | None]] = {}
        self._threads: list[threading.Thread] = []

    def ask(
        self,
        trigger: str,
        camera: str,
        earliest: float,
        deadline: float,
        settle: Callable[[str, Work | WireMissing], None],
    ) -> None:
        """What one trigger waits for holds no other one up."""
        with self._lock:
            if (queue := self._queues.get((trigger, camera))) is None:
                queue = self._queues[trigger, camera] = SimpleQueue()
                name = f"trigger-{trigger}-{camera}"
                thread = threading.Thread(target=self._run, args=(camera, queue), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            queue.put(_Asked(earliest, deadline, settle))

    def close(self) -> None:
        """What was not found by now is not found."""
        with self._lock:
            for queue in self._queues.values():
                queue.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self, camera: str, queue: SimpleQueue[_Asked | None]) -> None:
        while (asked := queue.get()) is not None:
            asked.settle(camera, self._look(camera, asked))

    def _look(self, camera: str, asked: _Asked) -> Work | WireMissing:
        """One that comes behind the deadline may show the next part."""
        try:
            frame = self._after(camera, asked.earliest, max(asked.deadline - time.monotonic(), 0.0))
        except RequestError as error:
            return WireMissing(camera=camera, code=error.code, reason=str(error))
        except Exception as error:  # a camera's library: the others are still looked at
            log.exception("camera %s could not be asked", camera)
            return WireMissing(camera=camera, code="internal", reason=f"unexpected: {error!r}")
        if frame.received > asked.deadline:
            late = f"its next frame came {frame.received - asked.deadline:.2f} s too late: see `wait_s`"
            return WireMissing(camera=camera, code="camera_late", reason=late)
        return Work(frame)
