"""What says that a part is there: a clock, a pin, a coil, a node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

EdgeKind = Literal["rising", "falling", "both"]


@dataclass(frozen=True)
class Moment:
    """When a source triggered: `monotonic` as `time.monotonic()` gives it, `at` in UTC."""

    monotonic: float = field(default_factory=time.monotonic)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class TriggerSource(Protocol):
    """What triggers. One that was lost is opened by asking for its moments anew."""

    def moments(self, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        """Each moment that it triggers; whoever takes them asks for the next when this one was taken over, and for none
        where it was not.

        An edge counts where both sides of it were seen: what the source was when it was opened is where it begins.

        Args:
            stands: called when the source can be read.

        Raises:
            LinkError: it cannot be opened, or was lost.
        """


def is_edge(before: float, now: float, kind: EdgeKind) -> bool:
    """Whether a change is one of those that trigger."""
    return (now > before and kind != "falling") or (now < before and kind != "rising")
