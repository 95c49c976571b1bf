"""Rejected frames on `event/{camera}`: the first at once, those that follow gathered, at most one event a second."""

from __future__ import annotations

import logging
import threading
import time

from lineside.edge.counters import Counters
from lineside.edge.errors import StoreError
from lineside.edge.wire.messages import JSON_TYPE, Event, new_id
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.remembered import FrameAnswer
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.topics import Topics

log = logging.getLogger("lineside.frames")
EVERY_S = 1.0
MAX_PART_IDS = 200
"""In one event: it goes out earlier where there are more."""


class Rejections:
    """Gathers by camera and code, on disk: a frame is acknowledged only when its rejection is there."""

    def __init__(self, topics: Topics, store: Store, outbox: Outbox, counters: Counters) -> None:
        self._topics, self._store, self._outbox, self._counters = topics, store, outbox, counters
        self._condition = threading.Condition()
        self._quiet: dict[tuple[str, str], float] = {}
        self._held: set[tuple[str, str]] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="rejections", daemon=True)

    def start(self) -> None:
        """With what a kill has left behind."""
        try:
            self._held.update(self._store.held_rejections())
        except StoreError as error:
            log.error("%s", error)
        self._thread.start()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        for key in list(self._held):
            self._release(key)

    def add(self, event: Event, code: str, answers: FrameAnswer | None = None) -> None:
        """Say that a frame was rejected; it is on disk when this returns."""
        key = (event.camera, code)
        with self._condition:
            first = key not in self._quiet
            self._quiet.setdefault(key, time.monotonic() + EVERY_S)
            if not first and self._hold(key, event, answers):
                return
            self._condition.notify_all()
        log.info("%s %s rejected: %s", event.camera, event.name, event.error.message if event.error else code)
        self._outbox.put(Outgoing(self._topics.event(event.camera), event.encode(), JSON_TYPE), answers)

    def _hold(self, key: tuple[str, str], event: Event, answers: FrameAnswer | None) -> bool:
        """False where the disk does not take it: then it goes out by itself."""
        merged: list[Event] = []

        def merge(body: bytes | None) -> bytes:
            merged.append(_merge(body, event))
            return merged[-1].encode()

        try:
            self._store.hold_rejection(*key, merge, answers)
        except StoreError as error:
            self._counters.add("store_errors")
            log.error("%s", error)
            return False
        self._held.add(key)
        if len(merged[-1].part_ids or ()) >= MAX_PART_IDS:
            self._release(key)
        self._condition.notify_all()
        return True

    def _run(self) -> None:
        with self._condition:
            while not self._closed:
                now = time.monotonic()
                for key in [key for key in self._held | set(self._quiet) if self._quiet.get(key, 0.0) <= now]:
                    self._quiet.pop(key, None)
                    if key in self._held and self._release(key):
                        self._quiet[key] = now + EVERY_S
                left = min(self._quiet.values(), default=None)
                self._condition.wait(None if left is None else max(left - time.monotonic(), 0.01))

    def _release(self, key: tuple[str, str]) -> bool:
        """True where it went into the outbox, or the disk has to be tried again later."""
        try:
            self._store.release_rejection(*key, self._topics.event(key[0]))
        except StoreError as error:
            log.error("%s", error)
            return True
        self._held.discard(key)
        log.info("%s: more frames were rejected (%s)", *key)
        self._outbox.wake()
        return True


def _merge(body: bytes | None, event: Event) -> Event:
    """One event for all, with an id of its own: how many, and which parts where they are known."""
    before = None if body is None else Event.model_validate_json(body)
    if before is None:
        parts = [event.part_id] if event.part_id else []
        return event.model_copy(update={"id": new_id(), "count": 1, "part_ids": parts or None})
    parts = [*(before.part_ids or ()), *([event.part_id] if event.part_id else ())]
    return before.model_copy(
        update={
            "count": (before.count or 1) + 1,
            "part_ids": parts or None,
            "name": "",
            "part_id": "",
            "error": event.error,
        }
    )
