"""Counts what is under way, for whoever has to wait for its end."""

from __future__ import annotations

import threading


class Running:
    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def begin(self) -> None:
        """One more is under way; `end` must be called for it."""
        with self._condition:
            self._count += 1

    def end(self) -> None:
        with self._condition:
            self._count -= 1
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Until nothing is under way; False where the time was over first."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._count, timeout_s)
