"""Frames waiting for the pipeline: triggered ones in a queue, streamed ones in a one-slot latest-wins box."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lineside.devices.cameras.frame import Frame

IDLE_S = 0.2


@dataclass(frozen=True)
class Work:
    """A frame, and what to call when it has been dealt with (the broker's acknowledgement).

    Attributes:
        ages: whether its age counts from its capture, else from when its turn comes.
        before: the streamed frame that this one replaced, in case this one cannot be decoded: a bad frame must not push
            a good one out.
    """

    frame: Frame
    done: Callable[[], None] = field(default=lambda: None)
    ages: bool = True
    before: Work | None = None


class Mailbox:
    """Both kinds of waiting frames, as they came, compressed. Cameras take turns, and so do the two kinds of one.

    Of triggered ones as many may wait as there are: whoever sends them is held back by what is not acknowledged.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: OrderedDict[tuple[str, bool], deque[Work]] = OrderedDict()
        self._closed = False

    def put_triggered(self, work: Work) -> None:
        """Queue a frame that must be answered."""
        with self._condition:
            self._waiting.setdefault((work.frame.camera, True), deque()).append(work)
            self._condition.notify()

    def put_latest(self, work: Work) -> Work | None:
        """Put a streamed frame into its camera's slot; returns the one that is given up for good, if any."""
        with self._condition:
            slot = self._waiting.setdefault((work.frame.camera, False), deque())
            replaced = slot.pop() if slot else None
            before = None if replaced is None else replace(replaced, before=None)
            slot.append(replace(work, before=before))
            self._condition.notify()
        return None if replaced is None else replaced.before

    def get(self, idle: Callable[[], None] = lambda: None) -> Work | None:
        """Wait for the next frame, of whose turn it is; None once the box is closed.

        Args:
            idle: called every `IDLE_S` while there is none.
        """
        with self._condition:
            while not (self._waiting or self._closed):
                if not self._condition.wait(IDLE_S):
                    idle()
            if self._closed:
                return None
            turn, queue = self._waiting.popitem(last=False)
            work = queue.popleft()
            if queue:
                self._waiting[turn] = queue  # behind the others
            return work

    def waiting(self) -> tuple[int, float | None]:
        """How many wait, and for how many seconds the oldest has, from its capture on."""
        with self._condition:
            received = [work.frame.received for queue in self._waiting.values() for work in queue]
        return len(received), time.monotonic() - min(received) if received else None

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
