"""The sources of triggers that have a wire or a clock of their own: a thread each, opened again where one is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from lineside.devices.errors import LinkError
from lineside.devices.triggers.trigger import Moment, TriggerSource
from lineside.edge.degraded import Degraded
from lineside.edge.triggers.events import TriggerEvents

log = logging.getLogger("lineside.triggers")
REOPEN_S = (1.0, 2.0, 5.0, 10.0)
"""Waiting times before a lost source is opened again; the last one repeats."""


class SourceThread:
    """Fires for each moment of a source. While it is lost, that stands in `degraded`, and an event has said so.

    Args:
        hold: set once the station is online.
    """

    def __init__(
        self,
        name: str,
        source: TriggerSource,
        fire: Callable[[str, Moment], bool],
        events: TriggerEvents,
        degraded: Degraded,
        hold: threading.Event,
    ) -> None:
        self._name, self._source, self._fire = name, source, fire
        self._events, self._degraded, self._hold = events, degraded, hold
        self._stop = threading.Event()
        self._lost_since: datetime | None = None
        self._stood = datetime.now(UTC)
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"trigger-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._hold.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        self._hold.wait()
        while not self._stop.is_set():
            try:
                for moment in self._source.moments(self._stop, self._stands):
                    if not self._fire(self._name, moment):
                        return  # the source is not told that it was taken: it asks again
            except LinkError as error:
                self._lose("trigger_unreachable", str(error))
            except Exception as error:  # a source's library: the station goes on, and opens it again
                log.exception("the trigger %s failed", self._name)
                self._lose("internal", f"unexpected: {error!r}")
            self._stop.wait(REOPEN_S[min(self._failures, len(REOPEN_S)) - 1])

    def _stands(self) -> None:
        self._failures = 0
        if self._lost_since is None:
            return
        since, self._lost_since = self._lost_since, None
        log.warning("the trigger %s is back; what triggered since %s is not known", self._name, since)
        self._degraded.clear(f"trigger {self._name}")
        self._events.back(self._name, since)

    def _lose(self, code: str, why: str) -> None:
        self._failures += 1
        self._degraded.set(f"trigger {self._name}", f"trigger {self._name} is lost, no part is seen: {why}")
        if self._lost_since is None:
            self._lost_since = datetime.now(UTC)
            log.error("the trigger %s is lost: %s", self._name, why)
            self._events.lost(self._name, self._lost_since, code, why)
