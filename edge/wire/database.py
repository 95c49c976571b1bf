"""A database's file (SQLite, write-ahead log): locked, brought up to this version, set aside when damaged."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.errors import StoreError

log = logging.getLogger("lineside.store")
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, content_type TEXT NOT NULL,
    correlation BLOB, expires REAL
);
CREATE INDEX IF NOT EXISTS outbox_expires ON outbox (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, payload BLOB NOT NULL, response_topic TEXT NOT NULL,
    correlation BLOB, expires REAL NOT NULL, digest TEXT NOT NULL UNIQUE, started INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE answered (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, payload BLOB NOT NULL,
    correlation BLOB, answered REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, tool TEXT NOT NULL, arguments TEXT NOT NULL, passed REAL NOT NULL, report TEXT
);
CREATE INDEX IF NOT EXISTS calls_passed ON calls (passed);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL UNIQUE, topic TEXT, payload BLOB
);
CREATE TABLE IF NOT EXISTS held (request TEXT PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE rejections (camera TEXT NOT NULL, code TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (camera, code));
CREATE TABLE sessions (name TEXT PRIMARY KEY, mark TEXT NOT NULL);
CREATE TABLE packets (
    session TEXT NOT NULL, packet_id INTEGER NOT NULL, content TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) WITHOUT ROWID;
"""
HELD = """
CREATE TABLE held (request TEXT PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL);
"""
TRIGGERS = """
CREATE TABLE triggers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, said TEXT NOT NULL, part_id TEXT NOT NULL, at REAL NOT NULL
);
"""
FROM_1 = """
ALTER TABLE answered RENAME TO answered_1;
{schema}
INSERT INTO answered (digest, topic, payload, correlation, answered)
    SELECT digest, topic, payload, correlation, {now} FROM answered_1;
DROP TABLE answered_1;
"""


@dataclass(frozen=True)
class Tables:
    """What a database holds.

    Attributes:
        version: in SQLite's `user_version`.
        upgrade: the statements that bring a file of an earlier version, or a new one, up to this one.
        lost: what is lost with a damaged file.
        key: of the station file, that says where it lies.
    """

    version: int
    upgrade: Callable[[sqlite3.Connection], str]
    lost: str
    key: str


class Database:
    """One connection shared by all threads behind a lock; each transaction that is to last is on disk when it ends.

    A file of an earlier version is brought up where it lies, one of a later version is not touched, one that is damaged
    is set aside and a new one begun.

    Args:
        on_damage: called with a sentence when a file was set aside.
        tables: the store's where left out.

    Attributes:
        replaced: whether a damaged file was set aside.

    Raises:
        StoreError: another process has the file, it is of a later version, or it cannot be made or written.
    """

    def __init__(self, path: Path, on_damage: Callable[[str], object], tables: Tables | None = None) -> None:
        self._path, self._lock, self._on_damage = path, threading.Lock(), on_damage
        self._tables = tables or STORE
        self.replaced = False
        self._locked = _lock(path, self._tables.key)
        try:
            self._db, self._lasts = self._open(), True
        except BaseException:
            os.close(self._locked)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            try:
                return _open(self._path, self._tables)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(error)
                return _open(self._path, self._tables)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: the database cannot be opened ({error})") from error

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Rename the file, with what belongs to it, to one that says when it was found damaged."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside, number = self._path.with_name(f"{self._path.name}.damaged-{stamp}"), 1
        while aside.exists():
            number += 1
            aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}-{number}")
        for suffix in ("-wal", "-shm", ""):
            beside = self._path.with_name(self._path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        self.replaced = True
        log.error("%s is damaged (%s): set aside as %s, a new one is begun", self._path, error, aside.name)
        self._on_damage(
            f"the database was damaged and lies aside as {aside.name}: {self._tables.lost}, is lost with it"
        )

    @contextmanager
    def transaction(self, undo: Callable[[], None], *, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """`undo` is called, behind the lock, where a transaction that was begun has failed, or the file was replaced.

        Args:
            lasting: it survives a power cut. Otherwise it survives the end of the process alone, and goes to the disk
                with the next one that lasts; that saves the wait for the disk.

        Raises:
            StoreError: the disk is full, or the file was found to be damaged: the next transaction has a new one.
        """
        with self._lock:
            try:
                if lasting != self._lasts:
                    self._db.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
                    self._lasts = lasting
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    undo()
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                if _is_damage(error):
                    self._begin_anew(error)
                    undo()
                    raise StoreError(f"the database was damaged ({error})") from error
                raise StoreError(f"the database cannot be written ({error}): is the disk full?") from error

    def _begin_anew(self, error: sqlite3.Error) -> None:
        self._db.close()
        try:
            self._set_aside(error)
        except OSError as problem:
            log.error("%s cannot be set aside (%s)", self._path, problem)
        self._db, self._lasts = self._open(), True

    def close(self) -> None:
        with self._lock:
            self._db.close()
            os.close(self._locked)


def _lock(path: Path, key: str) -> int:
    """A file descriptor that holds the lock, on a file beside the database that says whose it is.

    The lock ends with the process, however that ends.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"{path.parent} cannot be written ({error.strerror}): the database belongs there; change the folder's "
            f"rights, `[station] data` or `{key}`"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreError(
            f"{path} belongs to another daemon that runs (process {owner or 'unknown'}): stop that one, or give this "
            f"one a `{key}` of its own"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"{beside} cannot be locked ({error.strerror})") from error
    return descriptor


def _open(path: Path, tables: Tables) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > tables.version:
            reads = f"this Lineside reads up to {tables.version}: update Lineside"
            raise StoreError(f"{path} is a database of version {version}, {reads}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            damage = sqlite3.DatabaseError(problem)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
        if version < tables.version:
            db.executescript(f"BEGIN IMMEDIATE; {tables.upgrade(db)} PRAGMA user_version = {tables.version}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def _upgrade(db: sqlite3.Connection) -> str:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 2:
        return HELD + TRIGGERS
    before = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answered'").fetchone()
    return (FROM_1.format(schema=SCHEMA, now=time.time()) if before else SCHEMA) + TRIGGERS


STORE = Tables(3, _upgrade, "what waited to be sent, and which requests were answered", "[store] path")
"""Versions 0 and 1 had the same tables; 0 did not say so."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Extended codes have the plain one in their lowest byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE
