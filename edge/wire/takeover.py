"""Another client with this one's id: each connects, and the broker closes the other's connection."""

from __future__ import annotations

import logging
import threading
import time

from lineside.edge.degraded import Degraded

log = logging.getLogger("lineside.mqtt")
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
LONGEST_GUESSED_WAIT_S = 15.0
SHORT_S = 5.0
SHORT_ONES = 3


class Takeovers:
    """Says how long to stay away, so that two stations with one client id do not shut each other out for ever.

    A broker says "session taken over" (0x8E); Mosquitto 2.0.11 closes the connection without a word. So several
    connections in a row that were accepted and closed again within seconds are taken for it too, with a shorter wait:
    a bad link may be the cause.

    Args:
        degraded: says so until the connection has stood for twice the longest wait.
    """

    def __init__(self, client_id: str, degraded: Degraded) -> None:
        self._client_id, self._degraded = client_id, degraded
        self._since: float | None = None
        self._wait_s, self._count, self._short = 0.0, 0, 0
        self._over: threading.Timer | None = None

    def stands(self) -> None:
        """The broker has accepted the connection and the subscriptions."""
        self._since = time.monotonic()
        if self._count:
            self._over = threading.Timer(2 * LONGEST_WAIT_S, self._forget)
            self._over.daemon = True
            self._over.start()

    def unreachable(self) -> None:
        """No connection came to stand: a broker that was away closed the earlier ones, and no other client did."""
        self._short, self._wait_s = 0, 0.0

    def lost(self, taken_over: bool, closed_by_broker: bool = True) -> float:
        """Seconds to wait before the next connection is tried; 0 where nobody seems to have the id.

        Args:
            taken_over: the broker gave 0x8E as its reason.
            closed_by_broker: it was not this side that gave the connection up.
        """
        self.close()
        stood_s = time.monotonic() - self._since if self._since is not None else None
        self._since = None
        if stood_s is None and not taken_over:
            self.unreachable()
            return 0.0
        short = closed_by_broker and stood_s is not None and stood_s < max(SHORT_S, 2 * self._wait_s)
        self._short = self._short + 1 if short else 0
        if not taken_over and self._short < SHORT_ONES:
            self._wait_s = 0.0
            return 0.0
        self._count += 1
        longest = LONGEST_WAIT_S if taken_over else LONGEST_GUESSED_WAIT_S
        self._wait_s = min(max(2 * self._wait_s, FIRST_WAIT_S), longest)
        said = (
            "another client has" if taken_over else "the broker closes the connection at once: another client may have"
        )
        sentence = f"{said} the client id {self._client_id!r}: give each station a `[mqtt] client_id` of its own"
        self._degraded.set("client id", sentence)
        log.error("%s (%d times); waiting %g s", sentence, self._count, self._wait_s)
        return self._wait_s

    def close(self) -> None:
        if self._over is not None:
            self._over.cancel()
            self._over = None

    def _forget(self) -> None:
        self._count, self._short, self._wait_s = 0, 0, 0.0
        self._degraded.clear("client id")
