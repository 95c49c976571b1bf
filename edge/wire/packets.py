"""In the store's database: which request came last with which packet id of which session of the broker."""

from __future__ import annotations

import sqlite3

from lineside.edge.wire.identity import Delivery, Use


def last_use(db: sqlite3.Connection, delivery: Delivery) -> Use | None:
    row = db.execute(
        "SELECT content, number FROM packets WHERE session = ? AND packet_id = ?",
        (delivery.session, delivery.packet_id),
    ).fetchone()
    return Use(*row) if row else None


def write_use(db: sqlite3.Connection, delivery: Delivery, use: Use) -> None:
    db.execute(
        "INSERT OR REPLACE INTO packets (session, packet_id, content, number) VALUES (?, ?, ?, ?)",
        (delivery.session, delivery.packet_id, use.content, use.number),
    )
