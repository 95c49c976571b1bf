"""Unix time that no setting of the clock disturbs while the process runs: for whatever ends at a certain time."""

from __future__ import annotations

import time

_BEGAN = time.time() - time.monotonic()


def unix_time() -> float:
    """Seconds since 1970 by the clock as it stood when the process began. It never jumps."""
    return _BEGAN + time.monotonic()


def elapsed() -> float:
    """Seconds on a clock that is never set, and goes on while the machine sleeps: for how old something is."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
