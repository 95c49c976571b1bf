"""A machine for the tests: it takes what an output sets, when told to, and remembers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside.devices.errors import LinkError
from lineside.edge.outputs.job import About


@dataclass
class Machine:
    """A `Wire`.

    Attributes:
        writes: each level that was set, with the id of the part and the time.
        beats: each number of a heartbeat.
        before: called before anything is taken; it may wait, or raise LinkError.
        connecting: called before a part's output is set; it may wait, or raise LinkError.
    """

    writes: list[tuple[bool, str, float]] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    connecting: Callable[[], None] = lambda: None
    closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def connect(self) -> None:
        self.connecting()

    def set(self, on: bool, about: About) -> None:
        self.before()
        with self.changed:
            self.writes.append((on, about["id"], time.monotonic()))
            self.changed.notify_all()

    def count(self, number: int) -> None:
        self.before()
        with self.changed:
            self.beats.append(number)
            self.changed.notify_all()

    def probe(self) -> bool:
        self.before()
        return True

    def close(self) -> None:
        self.closed = True

    @property
    def levels(self) -> list[bool]:
        with self.changed:
            return [on for on, _, _ in self.writes]

    def parts(self) -> list[str]:
        """Those it was switched on for."""
        with self.changed:
            return [part for on, part, _ in self.writes if on and part]

    def break_down(self) -> None:
        def fail() -> None:
            raise LinkError("machine: broken")

        self.before = fail

    def repair(self) -> None:
        self.before = lambda: None
