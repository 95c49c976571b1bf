"""Which loops of the daemon still turn: each says so itself, and one that is too long about it is stuck."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

STUCK_S = 600.0
"""The longest that a turn may take: an inspection by a large model on a slow machine, a disk that hangs."""


class Pulse:
    """A turn begins with `begin` and ends with `end`; between turns a loop waits for work, for as long as it likes."""

    def __init__(self, stuck_s: float = STUCK_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._stuck_s, self._clock = stuck_s, clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._signs: dict[str, float] = {}

    def begin(self, loop: str) -> None:
        with self._lock:
            self._since[loop] = self._signs[loop] = self._clock()

    def end(self, loop: str) -> None:
        with self._lock:
            self._since.pop(loop, None)
            self._signs[loop] = self._clock()

    def beat(self, loop: str) -> None:
        """Between two turns: the loop itself says that it waits for work."""
        with self._lock:
            self._signs[loop] = self._clock()

    def silent_s(self, loop: str) -> float:
        """How long ago the loop gave its last sign of life; infinite where it gave none."""
        with self._lock:
            return self._clock() - self._signs[loop] if loop in self._signs else math.inf

    def stuck(self) -> list[str]:
        """Loops whose turn began too long ago."""
        now = self._clock()
        with self._lock:
            return sorted(loop for loop, since in self._since.items() if now - since > self._stuck_s)
