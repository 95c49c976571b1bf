"""The daemon's database: what must survive a power cut (SQLite, write-ahead log).

Outbox: results, events, calls and replies, until the broker has acknowledged them. Inbox: commands from acknowledgement
to reply. Answered: replies by request, given again to a duplicate until they expire. Calls: those that were let
through, by id, so that none is carried out twice, and rates hold over a restart.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.errors import StoreError

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, content_type TEXT NOT NULL,
    correlation BLOB, expires REAL
);
CREATE TABLE IF NOT EXISTS inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, payload BLOB NOT NULL, response_topic TEXT NOT NULL,
    correlation BLOB, expires REAL NOT NULL, digest TEXT NOT NULL UNIQUE, started INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS answered (
    digest TEXT PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, correlation BLOB, expires REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, tool TEXT NOT NULL, arguments TEXT NOT NULL, passed REAL NOT NULL, report TEXT
);
CREATE INDEX IF NOT EXISTS calls_passed ON calls (passed);
"""
VERSION = 1
"""Of the tables, in SQLite's `user_version`. 0 is the version before, which had the same tables and did not say so."""
CALLS_KEPT_S = 30 * 24 * 3600
CALLS_REMEMBERED = 100_000


@dataclass(frozen=True)
class Outgoing:
    """A message that waits for the broker. `expires` is a Unix time, or None."""

    topic: str
    payload: bytes
    content_type: str
    correlation: bytes | None = None
    expires: float | None = None
    id: int = 0


@dataclass(frozen=True)
class StoredCommand:
    """A command that was taken over; `digest` identifies the request, `started` says that it may have acted."""

    name: str
    payload: bytes
    response_topic: str
    correlation: bytes | None
    expires: float
    digest: str
    id: int = 0
    started: bool = False


@dataclass(frozen=True)
class StoredCall:
    """A call that was let through; `arguments` and `report` are JSON, the latter None until it has ended."""

    tool: str
    arguments: str
    report: str | None


class Store:
    """One connection shared by all threads behind a lock; each write is one transaction, on disk when it returns.

    A file of an earlier version is brought up where it lies; one of a later version is not touched.

    Raises StoreError, from any method, where the disk is full or the file damaged; at first also for a later version.
    """

    def __init__(self, path: Path, max_messages: int) -> None:
        self._lock = threading.Lock()
        self._max_messages = max_messages
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _open(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: the database cannot be opened ({error}); is the folder writable?") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"the database cannot be written ({error}): is the disk full?") from error

    def enqueue(self, message: Outgoing) -> int:
        """Add to the outbox; returns how many old messages had to go because it was full."""
        with self._transaction() as db:
            _insert(db, message)
            (count,) = db.execute("SELECT COUNT(*) FROM outbox").fetchone()
            excess = max(int(count) - self._max_messages, 0)
            if excess:
                db.execute("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?)", (excess,))
            return excess

    def pending(self, after: int, limit: int) -> list[Outgoing]:
        """The oldest messages with an id above `after`, expired ones dropped."""
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE expires IS NOT NULL AND expires < ?", (time.time(),))
            rows = db.execute(
                "SELECT topic, payload, content_type, correlation, expires, id "
                "FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Outgoing(*row) for row in rows]

    def waiting(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Id and topic of the oldest messages with an id above `after`."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT id, topic FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            ).fetchall()
        return [(int(row[0]), str(row[1])) for row in rows]

    def load(self, message_id: int) -> Outgoing | None:
        """A message of the outbox; None where it had to go meanwhile."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT topic, payload, content_type, correlation, expires, id FROM outbox WHERE id = ?", (message_id,)
            ).fetchone()
        return Outgoing(*row) if row else None

    def delivered(self, message_id: int) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE id = ?", (message_id,))

    def outbox_size(self) -> int:
        with self._transaction() as db:
            (count,) = db.execute("SELECT COUNT(*) FROM outbox").fetchone()
        return int(count)

    def take_over(self, command: StoredCommand) -> bool:
        """Keep a command until its reply is written; True where it is new.

        A duplicate is not kept again: if it was answered already, the answer goes out once more.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM answered WHERE expires < ?", (time.time(),))
            row = db.execute(
                "SELECT topic, payload, correlation FROM answered WHERE digest = ?", (command.digest,)
            ).fetchone()
            if row:
                _insert(db, Outgoing(row[0], row[1], "application/json", row[2], command.expires))
                return False
            cursor = db.execute(
                "INSERT OR IGNORE INTO inbox (name, payload, response_topic, correlation, expires, digest) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    command.name,
                    command.payload,
                    command.response_topic,
                    command.correlation,
                    command.expires,
                    command.digest,
                ),
            )
            return bool(cursor.rowcount == 1)

    def waiting_commands(self, limit: int) -> list[StoredCommand]:
        """The oldest commands without a reply, those under way among them."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT name, payload, response_topic, correlation, expires, digest, id, started "
                "FROM inbox ORDER BY id LIMIT ?",
                (limit,),
            ).fetchall()
        return [StoredCommand(*row) for row in rows]

    def mark_started(self, command: StoredCommand) -> None:
        """Before the first call goes out: after a power cut such a command is not carried out a second time."""
        with self._transaction() as db:
            db.execute("UPDATE inbox SET started = 1 WHERE digest = ?", (command.digest,))

    def answer(self, command: StoredCommand, reply: Outgoing, *, send: bool = True) -> None:
        """In one transaction: the reply into the outbox and kept for duplicates, the command out of the inbox.

        `send` is False where the reply went out already, while the disk refused writes.
        """
        with self._transaction() as db:
            if send:
                _insert(db, reply)
            db.execute(
                "INSERT OR REPLACE INTO answered (digest, topic, payload, correlation, expires) VALUES (?, ?, ?, ?, ?)",
                (command.digest, reply.topic, reply.payload, reply.correlation, command.expires),
            )
            db.execute("DELETE FROM inbox WHERE digest = ?", (command.digest,))

    def begin_call(self, call_id: str, tool: str, arguments: str) -> StoredCall | None:
        """Note that a call goes through. The earlier one with this id where there is one: it must not go again."""
        with self._transaction() as db:
            db.execute("DELETE FROM calls WHERE passed < ?", (time.time() - CALLS_KEPT_S,))
            row = db.execute("SELECT tool, arguments, report FROM calls WHERE id = ?", (call_id,)).fetchone()
            if row:
                return StoredCall(*row)
            db.execute(
                "INSERT INTO calls (id, tool, arguments, passed) VALUES (?, ?, ?, ?)",
                (call_id, tool, arguments, time.time()),
            )
        return None

    def find_call(self, call_id: str) -> StoredCall | None:
        with self._transaction() as db:
            row = db.execute("SELECT tool, arguments, report FROM calls WHERE id = ?", (call_id,)).fetchone()
        return StoredCall(*row) if row else None

    def end_call(self, call_id: str, report: str) -> None:
        with self._transaction() as db:
            db.execute("UPDATE calls SET report = ? WHERE id = ?", (report, call_id))

    def passed_calls(self) -> list[tuple[str, float]]:
        """Tool and Unix time of the latest calls that were let through, the oldest first."""
        with self._transaction() as db:
            rows = db.execute("SELECT tool, passed FROM calls ORDER BY passed DESC LIMIT ?", (CALLS_REMEMBERED,))
            return [(str(tool), float(passed)) for tool, passed in reversed(rows.fetchall())]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            reads = f"this Lineside reads up to {VERSION}: update Lineside"
            raise StoreError(f"{path} is a database of version {version}, {reads}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        if version < VERSION:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def _insert(db: sqlite3.Connection, message: Outgoing) -> None:
    db.execute(
        "INSERT INTO outbox (topic, payload, content_type, correlation, expires) VALUES (?, ?, ?, ?, ?)",
        (message.topic, message.payload, message.content_type, message.correlation, message.expires),
    )
