"""What an output has to do for one part."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lineside.edge.wire.messages import WireOutput, now

About = Mapping[str, str]
"""What a payload may say of the part: `verdict`, `camera`, `part_id`, `id`, `captured_at`."""
NOBODY: About = dict.fromkeys(("verdict", "camera", "part_id", "id", "captured_at"), "")
"""Where it is about no part."""


def _ignore(_output: WireOutput) -> None:
    """Nobody waits for it."""


@dataclass
class Job:
    """Done at most once. Times are those of `time.monotonic()`.

    Attributes:
        on: whether it switches the output on, or off.
        moment: when the part was captured.
        due: when it is to be done.
        latest: after this it is not done any more.
        settle: told what came of it, once.
    """

    on: bool
    moment: float
    due: float
    latest: float
    about: About = field(default_factory=lambda: NOBODY)
    settle: Callable[[WireOutput], None] = _ignore
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _taken: bool = False

    def take(self) -> bool:
        """Whoever is given True carries it out, or says for good that nobody will."""
        with self._lock:
            taken, self._taken = self._taken, True
            return not taken

    def done(self, at: float) -> WireOutput:
        """The other side has taken it at `at`."""
        state = "on" if self.on else "off"
        return WireOutput(outcome="done", state=state, at=now(), after_ms=round((at - self.moment) * 1e3, 2))
