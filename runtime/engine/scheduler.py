"""Who may use the engine next: several requests, one pass at a time.

Each request runs in its caller's thread and asks for a turn before every pass (a prefill chunk or a decode step). The
turn goes to the most urgent request that waits: first by priority, then by deadline, then in order of arrival. A
command that comes while a frame is decoded therefore waits for one pass, not for the frame; the frame goes on
afterwards, since every request has a KV cache of its own.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from lineside.runtime.errors import DeadlineExceeded, EngineError, RequestCancelled

POLL_S = 0.1
"""How often a waiting request looks whether it was cancelled."""
T = TypeVar("T")


class Priority(IntEnum):
    """Lower goes first. A guest is a request that nothing on the line waits for."""

    COMMAND = 0
    FRAME = 1
    GUEST = 2
    TRIAL = 3
    """Of a model that is tried out beside the one that runs."""


@dataclass(frozen=True)
class Request:
    """What the scheduler knows of a request.

    Attributes:
        deadline: on `time.monotonic()`; None for none.
        cancelled: asked between tokens and while waiting; it must return at once.
    """

    priority: Priority = Priority.COMMAND
    deadline: float | None = None
    cancelled: Callable[[], bool] | None = None

    def problem(self) -> EngineError | None:
        """Why the request should not go on, if it should not."""
        if self.cancelled is not None and self.cancelled():
            return RequestCancelled("the request was cancelled")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return DeadlineExceeded("the request's deadline passed before its answer began")
        return None

    def patience_s(self) -> float:
        """How long to wait before looking again."""
        if self.deadline is None:
            return POLL_S
        return min(POLL_S, max(self.deadline - time.monotonic(), 0.0))


class Queue:
    """Requests that wait for something, the most urgent first. `condition` guards what they wait for."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self._waiting: list[tuple[int, float, int]] = []
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_before(self, priority: Priority) -> bool:
        """Whether somebody more urgent waits. Takes no lock: who holds the engine asks between two passes."""
        return any(ticket[0] < priority for ticket in self._waiting[:1])

    def wait(self, request: Request, attempt: Callable[[], T | None]) -> T:
        """What `attempt` gives, once it is not None; it is tried, under the condition, for the first in the queue only.

        Raises:
            DeadlineExceeded, RequestCancelled: the request should not go on.
        """
        with self.condition:
            if (problem := request.problem()) is not None:
                raise problem
            if not self._waiting and (found := attempt()) is not None:
                return found
            deadline = request.deadline if request.deadline is not None else float("inf")
            ticket = (int(request.priority), deadline, next(self._arrivals))
            heapq.heappush(self._waiting, ticket)
            try:
                while True:
                    if self._waiting[0] == ticket and (found := attempt()) is not None:
                        return found
                    self.condition.wait(request.patience_s())
                    if (problem := request.problem()) is not None:
                        raise problem
            finally:
                self._waiting.remove(ticket)
                heapq.heapify(self._waiting)
                self.condition.notify_all()


class Scheduler:
    """Gives turns. `turn` blocks until the engine is free and nothing more urgent waits."""

    def __init__(self) -> None:
        self._queue = Queue()
        self._busy = False

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn."""
        return len(self._queue)

    @contextmanager
    def turn(self, request: Request) -> Iterator[None]:
        """Raises DeadlineExceeded or RequestCancelled where the request should not go on."""
        self._queue.wait(request, self._take)
        try:
            yield
        finally:
            with self._queue.condition:
                self._busy = False
                if len(self._queue):
                    self._queue.condition.notify_all()

    def _take(self) -> bool | None:
        if self._busy:
            return None
        self._busy = True
        return True
