"""A clock that triggers at even intervals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from lineside.devices.triggers.trigger import Moment


class Timer:
    """The first time one interval after it was started. Where the station was held up, what was due is left out."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s

    def moments(self, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        stands()
        due = time.monotonic() + self._interval_s
        while not stop.wait(max(due - time.monotonic(), 0.0)):
            yield Moment()
            due = max(due + self._interval_s, time.monotonic())
