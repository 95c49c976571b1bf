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

from runtime.errors import DeadlineExceeded, EngineError, RequestCancelled

POLL_S = 0.1
"""How often a waiting request looks whether it was cancelled."""


class Priority(IntEnum):
    """Lower goes first."""

    COMMAND = 0
    FRAME = 1


@dataclass(frozen=True)
class Request:
    """What the scheduler knows of a request.

    Attributes:
        deadline: on `time.monotonic()`; None for none.
        cancelled: asked between tokens and while waiting.
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


class Scheduler:
    """Gives turns. `turn` blocks until the engine is free and nothing more urgent waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy = False
        self._waiting: list[tuple[int, float, int]] = []
        self._arrivals = itertools.count()

    @contextmanager
    def turn(self, request: Request) -> Iterator[None]:
        """Raises DeadlineExceeded or RequestCancelled where the request should not go on."""
        self._acquire(request)
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                if self._waiting:
                    self._condition.notify_all()

    def _acquire(self, request: Request) -> None:
        with self._condition:
            if (problem := request.problem()) is not None:
                raise problem
            if not self._busy and not self._waiting:
                self._busy = True
                return
            deadline = request.deadline if request.deadline is not None else float("inf")
            ticket = (int(request.priority), deadline, next(self._arrivals))
            heapq.heappush(self._waiting, ticket)
            try:
                while self._busy or self._waiting[0] != ticket:
                    self._condition.wait(POLL_S)
                    if (problem := request.problem()) is not None:
                        raise problem
                self._busy = True
            finally:
                self._waiting.remove(ticket)
                heapq.heapify(self._waiting)
                if not self._busy:
                    self._condition.notify_all()
