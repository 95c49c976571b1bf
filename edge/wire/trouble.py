"""What the broker does not take from the outbox, named in `degraded` and in the log."""

from __future__ import annotations

import logging
import threading

from lineside.edge.degraded import Degraded

log = logging.getLogger("lineside.outbox")
NAMED = 5


class Trouble:
    """Speaks for the outbox: however many topics are refused, there is one sentence."""

    def __init__(self, degraded: Degraded) -> None:
        self._degraded = degraded
        self._lock = threading.Lock()
        self._refused: dict[str, str] = {}

    def refused(self, topic: str, reason: str, wait_s: float) -> None:
        """The broker does not want messages on `topic` at the moment: they wait."""
        with self._lock:
            self._refused[topic] = reason
            self._say()
        log.error("the broker refuses a message on %s (%s): it waits, and goes again in %g s", topic, reason, wait_s)

    def taken(self, topic: str) -> None:
        """The broker takes messages on `topic` again, or there are none left."""
        with self._lock:
            if self._refused.pop(topic, None) is not None:
                self._say()

    def too_large(self, why: str, size: int, what: str) -> None:
        """A message of `size` bytes was shortened, or given up."""
        log.error("%s: a message of %d bytes is %s", why, size, what)
        self._degraded.set("outbox too large", f"{why}; a message of {size} bytes is {what}, see `health`")

    def _say(self) -> None:
        if not self._refused:
            self._degraded.clear("outbox refused")
            return
        topics = list(self._refused)
        more = f" and {len(topics) - NAMED} more" if len(topics) > NAMED else ""
        named = f"{', '.join(topics[:NAMED])}{more} ({self._refused[topics[0]]})"
        self._degraded.set(
            "outbox refused", f"the broker refuses messages on {named}: they wait; check its access rules and quotas"
        )
