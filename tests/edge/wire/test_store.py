from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lineside.edge.errors import StoreError
from lineside.edge.wire.store import Outgoing, Store, StoredCommand


def message(text: str = "x", expires: float | None = None) -> Outgoing:
    return Outgoing("t", text.encode(), "application/json", b"c", expires)


def command(digest: str = "d", expires_in: float = 60) -> StoredCommand:
    return StoredCommand("ask", b"stop", "rsp", b"c", time.time() + expires_in, digest)


def test_messages_survive_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db", 100)
    store.enqueue(message("one"))
    store.take_over(command())
    store.close()
    again = Store(tmp_path / "s.db", 100)
    assert [m.payload for m in again.pending(0, 10)] == [b"one"]
    assert [c.payload for c in again.waiting_commands(20)] == [b"stop"]
    again.close()


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    """The sender goes by ids: one that came back would be skipped and its message lost."""
    store = Store(tmp_path / "s.db", 100)
    store.enqueue(message())
    (first,) = store.pending(0, 10)
    store.delivered(first.id)
    store.enqueue(message("two"))
    assert [m.payload for m in store.pending(first.id, 10)] == [b"two"]
    store.close()


def test_expired_messages_are_not_sent(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db", 100)
    store.enqueue(message("old", time.time() - 1))
    store.enqueue(message("new", time.time() + 60))
    assert [m.payload for m in store.pending(0, 10)] == [b"new"]
    store.close()


def test_the_oldest_go_when_it_is_full(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db", 3)
    assert [store.enqueue(message(str(i))) for i in range(5)] == [0, 0, 0, 1, 1]
    assert [m.payload for m in store.pending(0, 10)] == [b"2", b"3", b"4"]
    store.close()


def test_a_duplicate_gets_the_answer_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db", 100)
    assert store.take_over(command())
    assert not store.take_over(command())
    assert len(store.waiting_commands(20)) == 1
    store.answer(command(), message("reply"))
    assert store.waiting_commands(20) == []
    assert not store.take_over(command())
    assert [m.payload for m in store.pending(0, 10)] == [b"reply", b"reply"]
    assert store.take_over(command("another"))
    store.close()


def test_an_answer_is_forgotten_when_it_expires(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db", 100)
    short = command(expires_in=-1)
    store.take_over(short)
    store.answer(short, message("reply"))
    assert store.take_over(short)
    store.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "file" / "s.db", 10)


def test_a_full_disk_is_an_error_and_passes(tmp_path: Path) -> None:
    """SQLite's own page limit stands in for the disk: writing fails beneath a live connection, then works again."""
    store = Store(tmp_path / "s.db", 100)
    store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="is the disk full"):
        store.enqueue(message("x" * 1_000_000))
    store._db.execute("PRAGMA max_page_count = 100000")
    store.enqueue(message("after"))
    assert store.pending(0, 1000)[-1].payload == b"after"
    store.close()


def write_version_0(path: Path) -> None:
    """A database as Lineside left it before its version stood in it, with something in every table."""
    db = sqlite3.connect(path)
    db.executescript("""
        PRAGMA journal_mode = WAL;
        CREATE TABLE outbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,
            content_type TEXT NOT NULL, correlation BLOB, expires REAL
        );
        CREATE TABLE inbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, payload BLOB NOT NULL,
            response_topic TEXT NOT NULL, correlation BLOB, expires REAL NOT NULL, digest TEXT NOT NULL UNIQUE,
            started INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE answered (
            digest TEXT PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, correlation BLOB,
            expires REAL NOT NULL
        );
        CREATE TABLE calls (
            id TEXT PRIMARY KEY, tool TEXT NOT NULL, arguments TEXT NOT NULL, passed REAL NOT NULL, report TEXT
        );
        CREATE INDEX calls_passed ON calls (passed);
    """)
    later = time.time() + 60
    db.execute("INSERT INTO outbox VALUES (7, 't', x'6f6c64', 'application/json', NULL, NULL)")
    db.execute("INSERT INTO inbox VALUES (3, 'ask', x'73746f70', 'rsp', NULL, ?, 'waiting', 1)", (later,))
    db.execute("INSERT INTO answered VALUES ('answered', 'rsp', x'646f6e65', NULL, ?)", (later,))
    db.execute("INSERT INTO calls VALUES ('c', 'stop', '{}', ?, NULL)", (time.time(),))
    db.commit()
    db.close()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_a_database_of_the_version_before_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    write_version_0(path)
    assert version_of(path) == 0
    store = Store(path, 100)
    assert [(m.id, m.payload) for m in store.pending(0, 10)] == [(7, b"old")]
    assert [(c.digest, c.started) for c in store.waiting_commands(20)] == [("waiting", 1)]
    assert not store.take_over(command("answered"))
    assert [m.payload for m in store.pending(7, 10)] == [b"done"]
    assert store.begin_call("c", "stop", "{}") is not None
    store.close()
    assert version_of(path) == 1


def test_a_new_database_says_its_version(tmp_path: Path) -> None:
    Store(tmp_path / "s.db", 100).close()
    assert version_of(tmp_path / "s.db") == 1
    Store(tmp_path / "s.db", 100).close()
    assert version_of(tmp_path / "s.db") == 1


def test_a_database_of_a_later_version_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE of_tomorrow (id INTEGER)")
        db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        Store(path, 100)
    assert str(caught.value) == f"{path} is a database of version 2, this Lineside reads up to 1: update Lineside"
    assert path.read_bytes() == before


class OutboxMachine(RuleBasedStateMachine):
    """Any sequence of puts, deliveries and restarts: what was not delivered is there, in order, once."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.db"
        self.store = Store(self.path, 1000)
        self.expected: list[bytes] = []
        self.count = 0

    @rule()
    def put(self) -> None:
        self.count += 1
        self.store.enqueue(message(str(self.count)))
        self.expected.append(str(self.count).encode())

    @rule(index=st.integers(0, 5))
    def deliver(self, index: int) -> None:
        pending = self.store.pending(0, 1000)
        if index < len(pending):
            self.store.delivered(pending[index].id)
            self.expected.remove(pending[index].payload)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.path, 1000)

    @invariant()
    def nothing_lost_nothing_twice(self) -> None:
        assert [m.payload for m in self.store.pending(0, 1000)] == self.expected

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
