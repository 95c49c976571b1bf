"""Times on clocks that nobody sets: for whatever ends at a certain time, and for what another machine has dated."""

from __future__ import annotations

import math
import time

CLOSE_S = 1e-4
"""Two clocks that are read within this time are read at once."""
_BEGAN = time.time() - time.monotonic()


def unix_time() -> float:
    """Seconds since 1970 by the clock as it stood when the process began. It never jumps."""
    return _BEGAN + time.monotonic()


def elapsed() -> float:
    """Seconds on a clock that is never set, and goes on while the machine sleeps: for how old something is."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def moment_of(at: float) -> float:
    """What `time.monotonic()` was at a Unix time, by the clock as it stands; now where that is still to come.

    Both clocks are read again where the process was held up in between: two parts may be a few milliseconds apart.
    """
    closest, ahead = math.inf, 0.0
    for _ in range(10):
        before, now, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < closest:
            closest, ahead = after - before, now - (before + after) / 2
        if closest <= CLOSE_S:
            break
    return min(at - ahead, time.monotonic())
