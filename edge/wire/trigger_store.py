"""Triggers from the moment that they were taken over until their result is in the outbox, in the store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lineside.edge.wire.identity import Delivery, delivered_id, next_use, request_id
from lineside.edge.wire.packets import last_use, write_use
from lineside.edge.wire.remembered import FrameAnswer, remember_answer
from lineside.edge.wire.store import Outgoing, Store

Taken = Literal["new", "waits", "answered", "refused"]


@dataclass(frozen=True)
class StoredTrigger:
    """`id` is that of its result; `said` the one that its message gave, empty where it gave none; `at` a Unix time."""

    id: str
    name: str
    said: str
    part_id: str
    at: float


@dataclass(frozen=True)
class Arriving:
    """A trigger that came.

    Attributes:
        unmarked: how its message was delivered, where it gives no id: `trigger.id` is then the digest of its content.
        refused: it is not taken over, where it is new.
    """

    trigger: StoredTrigger
    unmarked: Delivery | None = None
    refused: bool = False


@dataclass(frozen=True)
class PartAnswer:
    """What is kept with the result of a trigger: that it was given, and which QoS 1 frames it was made from."""

    id: str
    frames: tuple[FrameAnswer, ...] = ()

    def remember(self, db: sqlite3.Connection, message: Outgoing | None) -> None:
        for frame in self.frames:
            frame.remember(db, message)
        remember_answer(db, self.id, message)
        db.execute("DELETE FROM triggers WHERE id = ?", (self.id,))


class TriggerStore:
    """Raises StoreError, from any method."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take_over(self, arriving: Sequence[Arriving], *, lasting: bool) -> list[tuple[StoredTrigger, Taken]]:
        """Keep those that are new, all in one transaction. The result of one that was answered goes out once more."""
        with self._store.transaction(lasting=lasting) as db:
            return [self._take(db, one) for one in arriving]

    def _take(self, db: sqlite3.Connection, arriving: Arriving) -> tuple[StoredTrigger, Taken]:
        trigger = arriving.trigger
        if (delivery := arriving.unmarked) is not None:
            use = next_use(last_use(db, delivery), trigger.id, delivery.dup)
            write_use(db, delivery, use)
            trigger = replace(trigger, id=request_id("trigger", delivered_id(delivery, use))[:32])
        row = db.execute("SELECT topic, payload FROM frames WHERE request = ?", (trigger.id,)).fetchone()
        if row and row[0] is None:
            return trigger, "waits"  # for its outputs
        if row:
            self._store.insert(db, Outgoing(row[0], row[1], "application/json"))
            return trigger, "answered"
        if arriving.refused:
            waits = db.execute("SELECT 1 FROM triggers WHERE id = ?", (trigger.id,)).fetchone()
            return trigger, "waits" if waits else "refused"
        cursor = db.execute(
            "INSERT OR IGNORE INTO triggers (id, name, said, part_id, at) VALUES (?, ?, ?, ?, ?)",
            (trigger.id, trigger.name, trigger.said, trigger.part_id, trigger.at),
        )
        return trigger, "new" if cursor.rowcount == 1 else "waits"

    def waiting(self) -> list[StoredTrigger]:
        """Those that a start finds without a result, the oldest first."""
        with self._store.transaction() as db:
            rows = db.execute("SELECT id, name, said, part_id, at FROM triggers ORDER BY at").fetchall()
        return [StoredTrigger(*row) for row in rows]

    def forget(self, trigger_id: str) -> None:
        """One that has no result."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM triggers WHERE id = ?", (trigger_id,))
