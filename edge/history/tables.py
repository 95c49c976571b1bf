"""The history's database: what stands in it, and how it is read while the daemon writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lineside.edge.errors import StoreError
from lineside.edge.history.records import COLUMNS, Query, Record, Setup
from lineside.edge.wire.database import Tables
from lineside.edge.wire.messages import Verdict

FILE = "verdicts.db"
SCHEMA = """
CREATE TABLE verdicts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, camera TEXT NOT NULL, name TEXT NOT NULL,
    part_id TEXT NOT NULL, captured_at REAL NOT NULL, kept_at REAL NOT NULL, verdict TEXT NOT NULL,
    decided_by TEXT NOT NULL, confidence REAL NOT NULL, result TEXT NOT NULL, views TEXT NOT NULL,
    setup TEXT NOT NULL, frame TEXT NOT NULL, frame_kind TEXT NOT NULL, frame_bytes INTEGER NOT NULL,
    evidence TEXT NOT NULL, evidence_bytes INTEGER NOT NULL, expired_at REAL
);
CREATE INDEX verdicts_captured ON verdicts (captured_at);
CREATE INDEX verdicts_camera ON verdicts (camera, captured_at);
CREATE INDEX verdicts_part ON verdicts (part_id, captured_at) WHERE part_id != '';
CREATE INDEX verdicts_pictures ON verdicts (seq) WHERE frame_bytes + evidence_bytes > 0;
CREATE TABLE setups (digest TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE reviews (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, verdict TEXT NOT NULL, by TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX reviews_id ON reviews (id);
"""
HISTORY = Tables(1, lambda _: SCHEMA, "what was kept of earlier verdicts", "[history] folder")
SELECT = f"SELECT {', '.join(COLUMNS)} FROM verdicts"


def insert(db: sqlite3.Connection, record: Record, setup: Setup) -> bool:
    """False where the result is there already: the first one stands."""
    db.execute("INSERT OR IGNORE INTO setups (digest, body) VALUES (?, ?)", (setup.digest, setup.body))
    marks = ", ".join("?" * len(COLUMNS))
    cursor = db.execute(
        f"INSERT OR IGNORE INTO verdicts ({', '.join(COLUMNS)}) VALUES ({marks})",
        tuple(getattr(record, column) for column in COLUMNS),
    )
    return cursor.rowcount == 1


def find(db: sqlite3.Connection, result_id: str) -> Record | None:
    row = db.execute(f"{SELECT} WHERE id = ?", (result_id,)).fetchone()
    return Record(*row) if row else None


def setup_of(db: sqlite3.Connection, digest: str) -> Setup | None:
    row = db.execute("SELECT digest, body FROM setups WHERE digest = ?", (digest,)).fetchone()
    return Setup(*row) if row else None


def reviews_of(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Verdict]:
    """The latest review of each of these results that has one."""
    marks = ", ".join("?" * len(ids))
    return dict(db.execute(f"SELECT id, verdict FROM reviews WHERE id IN ({marks}) ORDER BY seq", tuple(ids)))


def reviewed(db: sqlite3.Connection, camera: str, verdict: Verdict, most: int) -> Iterator[Record]:
    """Those whose latest review is `verdict` and whose frame is there, the newest first."""
    columns = ", ".join(f"verdicts.{column}" for column in COLUMNS)
    latest = "SELECT id, verdict AS said FROM reviews WHERE seq IN (SELECT max(seq) FROM reviews GROUP BY id)"
    rows = db.execute(
        f"SELECT {columns} FROM ({latest}) AS latest JOIN verdicts ON verdicts.id = latest.id "
        "WHERE said = ? AND camera = ? AND frame_bytes > 0 ORDER BY captured_at DESC LIMIT ?",
        (verdict, camera, most),
    )
    return (Record(*row) for row in rows)


def search(db: sqlite3.Connection, query: Query) -> Iterator[Record]:
    """Those that fit, by the time of capture."""
    wheres: list[tuple[str, list[Any]]] = []
    if query.camera:
        wheres.append(("camera = ?", [query.camera]))
    if query.part:
        pattern = query.part.replace("[", "[[]").replace("?", "[?]")
        wheres.append(("part_id GLOB ?", [pattern]) if "*" in query.part else ("part_id = ?", [query.part]))
    if query.verdicts:
        wheres.append((f"verdict IN ({', '.join('?' * len(query.verdicts))})", list(query.verdicts)))
    if query.since is not None:
        wheres.append(("captured_at >= ?", [query.since.timestamp()]))
    if query.until is not None:
        wheres.append(("captured_at <= ?", [query.until.timestamp()]))
    where = " AND ".join(clause for clause, _ in wheres)
    order = "DESC" if query.newest_first else "ASC"
    statement = f"{SELECT}{f' WHERE {where}' if where else ''} ORDER BY captured_at {order}, seq {order} LIMIT ?"
    values = [value for _, some in wheres for value in some]
    for row in db.execute(statement, (*values, query.limit or -1)):
        yield Record(*row)


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database of the history in `folder`, read-only, whether or not a daemon has it.

    Raises StoreError where there is none, or it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise StoreError(f"{path} is not there: no verdict has been kept yet (`[history] folder`)")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != HISTORY.version:
                raise StoreError(f"{path} is of version {version}, this Lineside reads {HISTORY.version}")
            yield db
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read ({error})") from error
