"""Results on their way to a host, on disk until the broker has them; and the numbers that outlive a start."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.edge.degraded import Degraded
from lineside.edge.wire.database import Database, Tables

FILE = "sparkplug.db"
SCHEMA = """
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, timestamp INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def _upgrade(_db: sqlite3.Connection) -> str:
    return SCHEMA


TABLES = Tables(1, _upgrade, "what waited for a host of Sparkplug B", "[station] data")
BDSEQS = 256


@dataclass(frozen=True)
class Waiting:
    """A result of a camera. `timestamp` is Unix time in milliseconds, `values` are its metrics."""

    id: int
    camera: str
    timestamp: int
    values: Mapping[str, Any]


class WaitingResults:
    """Raises StoreError where the file cannot be used, here and in every method."""

    def __init__(self, folder: Path, most: int, degraded: Degraded) -> None:
        self._most = most
        self._db = Database(folder / FILE, lambda sentence: degraded.set("sparkplug store", sentence), TABLES)

    def put(self, camera: str, timestamp: int, values: Mapping[str, Any]) -> int:
        """How many of the oldest were thrown away, so that there are no more than may be."""
        with self._db.transaction(lambda: None, lasting=False) as db:
            row = (camera, timestamp, json.dumps(values))
            db.execute("INSERT INTO waiting (camera, timestamp, body) VALUES (?, ?, ?)", row)
            (count,) = db.execute("SELECT count(*) FROM waiting").fetchone()
            if count <= self._most:
                return 0
            last = "SELECT id FROM waiting ORDER BY id LIMIT 1 OFFSET ?"
            db.execute(f"DELETE FROM waiting WHERE id < ({last})", (count - self._most,))
            return int(count - self._most)

    def after(self, last: int, most: int) -> list[Waiting]:
        """The oldest behind `last`."""
        with self._db.transaction(lambda: None, lasting=False) as db:
            query = "SELECT id, camera, timestamp, body FROM waiting WHERE id > ? ORDER BY id LIMIT ?"
            rows = db.execute(query, (last, most)).fetchall()
        return [Waiting(number, camera, stamp, json.loads(body)) for number, camera, stamp, body in rows]

    def newest(self) -> int:
        """The id of the last one, 0 where there is none."""
        with self._db.transaction(lambda: None, lasting=False) as db:
            return int(db.execute("SELECT coalesce(max(id), 0) FROM waiting").fetchone()[0])

    def remove(self, up_to: int) -> None:
        """The broker has them."""
        with self._db.transaction(lambda: None, lasting=False) as db:
            db.execute("DELETE FROM waiting WHERE id <= ?", (up_to,))

    def next_bdseq(self) -> int:
        """The number of the next connection, 0 to 255: it goes on behind a start."""
        with self._db.transaction(lambda: None, lasting=False) as db:
            found = db.execute("SELECT value FROM numbers WHERE name = 'bdSeq'").fetchone()
            number = 0 if found is None else (int(found[0]) + 1) % BDSEQS
            db.execute("INSERT OR REPLACE INTO numbers VALUES ('bdSeq', ?)", (number,))
        return number

    def close(self) -> None:
        self._db.close()
