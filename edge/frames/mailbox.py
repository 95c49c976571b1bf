"""Frames waiting for the pipeline: triggered ones in a short queue, streamed ones in a one-slot latest-wins box."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lineside.devices.cameras.frame import Frame


@dataclass(frozen=True)
class Work:
    """A frame, and what to call when it has been dealt with (the broker's acknowledgement).

    Attributes:
        before: the streamed frame that this one replaced, in case this one cannot be decoded: a bad frame must not push
            a good one out.
    """

    frame: Frame
    done: Callable[[], None] = field(default=lambda: None)
    before: Work | None = None


class Mailbox:
    """Both kinds of waiting frames, triggered ones first. They wait as they came, compressed.

    Args:
        queue_size: triggered frames that may wait; a stream needs no queue, its newest frame replaces the last.
    """

    def __init__(self, queue_size: int = 32) -> None:
        self._queue_size = queue_size
        self._condition = threading.Condition()
        self._triggered: deque[Work] = deque()
        self._latest: dict[str, Work] = {}
        self._closed = False

    def put_triggered(self, work: Work) -> bool:
        """Queue a frame that must be answered; False where the queue is full."""
        with self._condition:
            if len(self._triggered) >= self._queue_size:
                return False
            self._triggered.append(work)
            self._condition.notify()
            return True

    def put_latest(self, work: Work) -> Work | None:
        """Put a streamed frame into its camera's slot; returns the one that is given up for good, if any."""
        with self._condition:
            replaced = self._latest.pop(work.frame.camera, None)
            before = None if replaced is None else replace(replaced, before=None)
            self._latest[work.frame.camera] = replace(work, before=before)
            self._condition.notify()
        return None if replaced is None else replaced.before

    def get(self) -> Work | None:
        """Wait for the next frame; None once the box is closed."""
        with self._condition:
            while not (self._triggered or self._latest or self._closed):
                self._condition.wait()
            if self._closed:
                return None
            if self._triggered:
                return self._triggered.popleft()
            camera = next(iter(self._latest))
            return self._latest.pop(camera)

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
