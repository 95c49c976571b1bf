"""What the broker does not take, named in `degraded` and in the log."""

from __future__ import annotations

import logging
import threading

from lineside.edge.degraded import Degraded

log = logging.getLogger("lineside.outbox")
NAMED = 5


class Refused:
    """Topics that the broker refuses: however many, there is one sentence.

    Args:
        key: of the sentence in `degraded`.
        and_so: what becomes of the messages, such as "they wait".
    """

    def __init__(self, degraded: Degraded, key: str, and_so: str) -> None:
        self._degraded, self._key, self._and_so = degraded, key, and_so
        self._lock = threading.Lock()
        self._topics: dict[str, str] = {}

    def add(self, topic: str, reason: str) -> None:
        with self._lock:
            self._topics[topic] = reason
            self._say()

    def remove(self, topic: str) -> None:
        with self._lock:
            if self._topics.pop(topic, None) is not None:
                self._say()

    def _say(self) -> None:
        if not self._topics:
            self._degraded.clear(self._key)
            return
        topics = list(self._topics)
        more = f" and {len(topics) - NAMED} more" if len(topics) > NAMED else ""
        named = f"{', '.join(topics[:NAMED])}{more} ({self._topics[topics[0]]})"
        advice = "check its access rules and quotas"
        self._degraded.set(self._key, f"the broker refuses messages on {named}: {self._and_so}; {advice}")


class Trouble:
    """Speaks for the outbox."""

    def __init__(self, degraded: Degraded) -> None:
        self._degraded = degraded
        self._refused = Refused(degraded, "outbox refused", "they wait")

    def refused(self, topic: str, reason: str, wait_s: float) -> None:
        """The broker does not want messages on `topic` at the moment: they wait."""
        self._refused.add(topic, reason)
        log.error("the broker refuses a message on %s (%s): it waits, and goes again in %g s", topic, reason, wait_s)

    def taken(self, topic: str) -> None:
        """The broker takes messages on `topic` again, or there are none left."""
        self._refused.remove(topic)

    def too_large(self, why: str, size: int, what: str) -> None:
        """A message of `size` bytes was shortened, or given up."""
        log.error("%s: a message of %d bytes is %s", why, size, what)
        self._degraded.set("outbox too large", f"{why}; a message of {size} bytes is {what}, see `health`")
