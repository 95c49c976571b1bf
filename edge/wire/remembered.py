"""What is kept of a request with its answer, so that a later delivery of it is known again."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lineside.edge.wire.identity import Delivery, Use
from lineside.edge.wire.packets import write_use

if TYPE_CHECKING:
    from lineside.edge.wire.store import Outgoing

FRAMES_KEPT = 10_000
"""Answered frames. A redelivery is the first thing that comes on the next connection: it has fewer before it."""


class Remembered(Protocol):
    """Written in the transaction that puts the answer into the outbox, or keeps it until its outputs are done."""

    def remember(self, db: sqlite3.Connection, message: Outgoing | None) -> None:
        """With the message, where it is to be given again."""


@dataclass(frozen=True)
class FrameAnswer:
    """What to remember with a message that answers a QoS 1 frame.

    Attributes:
        request: the frame's own id where it has a result, the delivery's where it was rejected: a rejected frame that
            is sent anew is looked at anew.
        again: whether the message is given again to a duplicate.
    """

    request: str
    delivery: Delivery
    use: Use
    again: bool

    def remember(self, db: sqlite3.Connection, message: Outgoing | None) -> None:
        write_use(db, self.delivery, self.use)
        remember_answer(db, self.request, message if self.again else None)


def remember_answer(db: sqlite3.Connection, request: str, message: Outgoing | None) -> None:
    """With the message, or without where it is not to be given again."""
    topic, payload = (message.topic, message.payload) if message is not None else (None, None)
    cursor = db.execute(
        "INSERT OR REPLACE INTO frames (request, topic, payload) VALUES (?, ?, ?)", (request, topic, payload)
    )
    db.execute("DELETE FROM frames WHERE id <= ?", ((cursor.lastrowid or 0) - FRAMES_KEPT,))
