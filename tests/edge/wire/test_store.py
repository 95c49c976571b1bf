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
from lineside.edge.steady import unix_time
from lineside.edge.wire.store import DAY_S, Outgoing, Store, StoredCommand


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


def pass_days(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """From now on the store believes that it is so many days later."""
    monkeypatch.setattr("lineside.edge.wire.store.unix_time", lambda: unix_time() + days * DAY_S)


def test_an_answer_is_remembered_longer_than_its_command_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By days, over a restart, and however many are answered meanwhile up to a number."""
    short = command(expires_in=-1)
    store = Store(tmp_path / "s.db", 100)
    store.take_over(short)
    store.answer(short, message("reply"))
    store.close()
    store = Store(tmp_path / "s.db", 100)
    pass_days(monkeypatch, 6.9)
    store.answer(command("later"), message("reply"))
    assert not store.take_over(short)
    pass_days(monkeypatch, 7.1)
    store.answer(command("much later"), message("reply"))
    assert store.take_over(short)
    store.close()


def test_a_longer_session_is_outlived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "s.db", 100, session_expiry_s=20 * DAY_S)
    store.answer(command(), message("reply"))
    pass_days(monkeypatch, 20.5)
    store.answer(command("later"), message("reply"))
    assert not store.take_over(command())
    store.close()


def test_the_newest_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.store.ANSWERED_KEPT", 2)
    store = Store(tmp_path / "s.db", 100)
    for digest in ("a", "b", "c"):
        store.take_over(command(digest))
        store.answer(command(digest), message("reply"))
    assert [store.take_over(command(digest)) for digest in ("b", "c", "a")] == [False, False, True]
    store.close()


def test_setting_the_clock_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a clock of its own starts in 1970 and is set years ahead."""
    store = Store(tmp_path / "s.db", 100)
    store.answer(command(), message("reply"))
    store.begin_call("c", "stop", "{}")
    years_later = time.time() + 3650 * DAY_S
    monkeypatch.setattr("time.time", lambda: years_later)
    store.answer(command("later"), message("reply"))
    assert not store.take_over(command())
    assert store.begin_call("c", "stop", "{}") is not None
    store.close()


def test_a_full_disk_is_an_error_and_passes(tmp_path: Path) -> None:
    """SQLite's own page limit stands in for the disk: writing fails beneath a live connection, then works again."""
    store = Store(tmp_path / "s.db", 100)
    store._database._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="is the disk full"):
        store.enqueue(message("x" * 1_000_000))
    store._database._db.execute("PRAGMA max_page_count = 100000")
    assert store.outbox_size() == 0
    store.enqueue(message("after"))
    assert store.pending(0, 1000)[-1].payload == b"after"
    assert store.outbox_size() == 1
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
    assert version_of(path) == 3


def test_a_new_database_says_its_version(tmp_path: Path) -> None:
    Store(tmp_path / "s.db", 100).close()
    assert version_of(tmp_path / "s.db") == 3
    Store(tmp_path / "s.db", 100).close()
    assert version_of(tmp_path / "s.db") == 3


def test_a_database_without_a_place_for_held_results_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Store(path, 100).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE held")
        db.execute("PRAGMA user_version = 2")
    store = Store(path, 100)
    store.hold("f", Outgoing("result/top", b"as kept", "application/json"), None)
    store.close()
    store = Store(path, 100)
    assert store.release_held() == 1
    assert store.release_held() == 0
    assert [(m.topic, m.payload) for m in store.pending(0, 10)] == [("result/top", b"as kept")]
    store.close()


def test_a_database_of_a_later_version_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE of_tomorrow (id INTEGER)")
        db.execute("PRAGMA user_version = 4")
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        Store(path, 100)
    assert str(caught.value) == f"{path} is a database of version 4, this Lineside reads up to 3: update Lineside"
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
        assert self.store.outbox_size() == len(self.expected)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
