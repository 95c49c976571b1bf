"""A wall clock that is set while the daemon runs: injected, as the machine's own is not ours to set.

libfaketime was tried first. It also stands before the waits of Python's locks, and a daemon beneath it hung when the
clock was set back.
"""

from __future__ import annotations

import datetime as library
import sys
import time
from pathlib import Path

LOOK_S = 0.02


class Clock:
    """`time.time` with the error, in seconds, that a file says."""

    def __init__(self, path: Path) -> None:
        self._path, self._true = path, time.time
        self._looked, self._error_s = 0.0, 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            self._looked = now
            self._error_s = float(self._path.read_text() or self._error_s)
        return self._true() + self._error_s


class Shifted(library.datetime):
    """`now` by `time.time`, which the clock stands for."""

    @classmethod
    def now(cls, tz: library.tzinfo | None = None) -> Shifted:
        return cls.fromtimestamp(time.time(), tz)


def install(path: Path) -> None:
    """For every module of Lineside that is loaded."""
    time.time = Clock(path)
    for name, module in list(sys.modules.items()):
        if name.startswith("lineside.") and getattr(module, "datetime", None) is library.datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
