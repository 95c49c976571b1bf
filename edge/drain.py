"""The time that a station which stops has for what is under way."""

from __future__ import annotations

import threading
import time


class Drain:
    """One limit for all that is waited for. It begins with the first wait, from any thread."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._lock = threading.Lock()
        self._ends: float | None = None

    def left_s(self) -> float:
        with self._lock:
            if self._ends is None:
                self._ends = time.monotonic() + self.limit_s
            return max(self._ends - time.monotonic(), 0.0)
