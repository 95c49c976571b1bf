"""What must survive a power cut.

Outbox: results, events, calls and replies, until the broker has acknowledged them. Inbox: commands from acknowledgement
to reply. Held: results that wait for their outputs. Answered: replies by request, and frames with their results, given
again to a duplicate. Calls: those that were let through, by id, so that none is carried out twice, and rates hold over
a restart. Sessions and packets: which request came last with which packet id of which session of the broker.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lineside.edge.degraded import Degraded
from lineside.edge.errors import StoreError
from lineside.edge.steady import unix_time
from lineside.edge.wire.database import Database
from lineside.edge.wire.identity import Delivery, Use, delivered_id, next_use
from lineside.edge.wire.packets import last_use, write_use
from lineside.edge.wire.remembered import FrameAnswer, Remembered

log = logging.getLogger("lineside.store")

DAY_S = 24 * 3600
REMEMBERED_S = 7 * DAY_S
"""How long requests and calls are remembered at least, and a day longer than the broker keeps the session."""
ANSWERED_KEPT = 50_000
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


GROUP = "group/"
"""Before the name of a command that came to the group: no name of a topic's level has a slash."""


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

    @property
    def shared(self) -> bool:
        """Whether it came to the group, and not to this station."""
        return self.name.startswith(GROUP)

    @property
    def asks(self) -> str:
        """What the command is, such as `ask`."""
        return self.name.removeprefix(GROUP)


@dataclass(frozen=True)
class StoredCall:
    """A call that was let through; `arguments` and `report` are JSON, the latter None until it has ended."""

    tool: str
    arguments: str
    report: str | None


class Store:
    """What the daemon keeps in its database (`wire.database`); each write is one transaction.

    Args:
        max_messages: in the outbox; the oldest go where there are more.
        session_expiry_s: how long the broker keeps a session that is not connected.
        degraded: where it is said that a damaged file was set aside.

    Raises StoreError, from any method, where the disk is full or the file damaged; at first also where another process
    has the file, or it is of a later version.
    """

    def __init__(
        self, path: Path, max_messages: int, session_expiry_s: int = 0, degraded: Degraded | None = None
    ) -> None:
        self._max_messages = max_messages
        self._remembered_s = max(REMEMBERED_S, session_expiry_s + DAY_S)
        said = degraded or Degraded()
        self._database = Database(path, lambda sentence: said.set("store", sentence))
        self._marks: dict[str, str] = {}
        self._waiting: int | None = None
        self._before = 0

    @contextmanager
    def transaction(self, *, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """Whoever adds or deletes messages keeps `_waiting` right; it goes back with a transaction that fails. Of this
        module, and of those that keep something of their own in the same file.
        """
        with self._database.transaction(self._undo, lasting=lasting) as db:
            if self._waiting is None:
                (count,) = db.execute("SELECT COUNT(*) FROM outbox").fetchone()
                self._waiting = int(count)
            self._before = self._waiting
            yield db

    def _undo(self) -> None:
        self._waiting = None if self._database.replaced else self._before

    def insert(self, db: sqlite3.Connection, message: Outgoing) -> None:
        db.execute(
            "INSERT INTO outbox (topic, payload, content_type, correlation, expires) VALUES (?, ?, ?, ?, ?)",
            (message.topic, message.payload, message.content_type, message.correlation, message.expires),
        )
        self._add(1)

    def _add(self, messages: int) -> int:
        """Count messages of the outbox that came, or went; returns how many there are."""
        self._waiting = (self._waiting or 0) + messages
        return self._waiting

    def enqueue(self, message: Outgoing, answers: Remembered | None = None, *, lasting: bool = True) -> int:
        """Returns how many old messages had to go because it was full.

        `lasting` is False where a power cut may cost the message: it answers what nobody was promised an answer to.
        """
        with self.transaction(lasting=lasting) as db:
            self.insert(db, message)
            if answers is not None:
                answers.remember(db, message)
            excess = max(self._add(0) - self._max_messages, 0)
            if excess:
                gone = db.execute(
                    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?)", (excess,)
                )
                self._add(-gone.rowcount)
            return excess

    def pending(self, after: int, limit: int) -> list[Outgoing]:
        """The oldest messages with an id above `after`, expired ones dropped."""
        with self.transaction() as db:
            gone = db.execute("DELETE FROM outbox WHERE expires IS NOT NULL AND expires < ?", (unix_time(),))
            self._add(-gone.rowcount)
            rows = db.execute(
                "SELECT topic, payload, content_type, correlation, expires, id "
                "FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Outgoing(*row) for row in rows]

    def waiting(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Id and topic of the oldest messages with an id above `after`."""
        with self.transaction() as db:
            rows = db.execute(
                "SELECT id, topic FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            ).fetchall()
        return [(int(row[0]), str(row[1])) for row in rows]

    def load(self, message_id: int) -> Outgoing | None:
        """A message of the outbox; None where it had to go meanwhile."""
        with self.transaction() as db:
            row = db.execute(
                "SELECT topic, payload, content_type, correlation, expires, id FROM outbox WHERE id = ?", (message_id,)
            ).fetchone()
        return Outgoing(*row) if row else None

    def delivered(self, message_id: int) -> None:
        """After a power cut it may be there again, and goes out once more with the id that it had."""
        with self.transaction(lasting=False) as db:
            self._add(-db.execute("DELETE FROM outbox WHERE id = ?", (message_id,)).rowcount)

    def outbox_size(self) -> int:
        with self.transaction():
            return self._add(0)

    def session_mark(self, name: str, present: bool) -> str:
        """The mark of the broker's session `name`: a new one where the broker has begun a new one (`present` is false).

        Never raises: on a disk that refuses it, the mark is good until the next start.
        """
        try:
            with self.transaction() as db:
                row = db.execute("SELECT mark FROM sessions WHERE name = ?", (name,)).fetchone()
                known = self._marks.get(name) or (row and row[0])
                self._marks[name] = mark = known if present and known else uuid.uuid4().hex
                if row is None or mark != row[0]:
                    db.execute("INSERT OR REPLACE INTO sessions (name, mark) VALUES (?, ?)", (name, mark))
                    db.execute("DELETE FROM packets WHERE session NOT IN (SELECT mark FROM sessions)")
        except StoreError as error:
            log.error("%s", error)
            if not present or name not in self._marks:
                self._marks[name] = uuid.uuid4().hex
        return self._marks[name]

    def take_over(self, command: StoredCommand, unmarked: Delivery | None = None) -> bool:
        """Keep a command until its reply is written; True where it is new.

        A duplicate is not kept again: if it was answered already, the answer goes out once more.

        Args:
            unmarked: how the command was delivered, where it carries nothing to know it by: its `digest` is then that
                of its content, and the request is told from others by its delivery.
        """
        with self.transaction() as db:
            if unmarked is not None:
                use = next_use(last_use(db, unmarked), command.digest, unmarked.dup)
                write_use(db, unmarked, use)
                command = replace(command, digest=delivered_id(unmarked, use))
            row = db.execute(
                "SELECT topic, payload, correlation FROM answered WHERE digest = ?", (command.digest,)
            ).fetchone()
            if row:
                self.insert(db, Outgoing(row[0], row[1], "application/json", row[2], command.expires))
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
        with self.transaction() as db:
            rows = db.execute(
                "SELECT name, payload, response_topic, correlation, expires, digest, id, started "
                "FROM inbox ORDER BY id LIMIT ?",
                (limit,),
            ).fetchall()
        return [StoredCommand(*row) for row in rows]

    def mark_started(self, command: StoredCommand) -> None:
        """Before the first call goes out: after a power cut such a command is not carried out a second time."""
        with self.transaction() as db:
            db.execute("UPDATE inbox SET started = 1 WHERE digest = ?", (command.digest,))

    def answer(self, command: StoredCommand, reply: Outgoing, *, send: bool = True) -> None:
        """In one transaction: the reply into the outbox and kept for duplicates, the command out of the inbox.

        `send` is False where the reply went out already, while the disk refused writes.
        """
        with self.transaction() as db:
            if send:
                self.insert(db, reply)
            cursor = db.execute(
                "INSERT OR REPLACE INTO answered (digest, topic, payload, correlation, answered) "
                "VALUES (?, ?, ?, ?, ?)",
                (command.digest, reply.topic, reply.payload, reply.correlation, unix_time()),
            )
            oldest = unix_time() - self._remembered_s
            db.execute("DELETE FROM answered WHERE answered < ?", (oldest,))
            db.execute("DELETE FROM answered WHERE id <= ?", ((cursor.lastrowid or 0) - ANSWERED_KEPT,))
            db.execute("DELETE FROM inbox WHERE digest = ?", (command.digest,))

    def begin_call(self, call_id: str, tool: str, arguments: str) -> StoredCall | None:
        """Note that a call goes through. The earlier one with this id where there is one: it must not go again."""
        with self.transaction() as db:
            db.execute("DELETE FROM calls WHERE passed < ?", (unix_time() - self._remembered_s,))
            row = db.execute("SELECT tool, arguments, report FROM calls WHERE id = ?", (call_id,)).fetchone()
            if row:
                return StoredCall(*row)
            db.execute(
                "INSERT INTO calls (id, tool, arguments, passed) VALUES (?, ?, ?, ?)",
                (call_id, tool, arguments, unix_time()),
            )
        return None

    def find_call(self, call_id: str) -> StoredCall | None:
        with self.transaction() as db:
            row = db.execute("SELECT tool, arguments, report FROM calls WHERE id = ?", (call_id,)).fetchone()
        return StoredCall(*row) if row else None

    def end_call(self, call_id: str, report: str) -> None:
        with self.transaction() as db:
            db.execute("UPDATE calls SET report = ? WHERE id = ?", (report, call_id))

    def passed_calls(self) -> list[tuple[str, float]]:
        """Tool and Unix time of the latest calls that were let through, the oldest first."""
        with self.transaction() as db:
            rows = db.execute("SELECT tool, passed FROM calls ORDER BY passed DESC LIMIT ?", (CALLS_REMEMBERED,))
            return [(str(tool), float(passed)) for tool, passed in reversed(rows.fetchall())]

    def last_use(self, delivery: Delivery) -> Use | None:
        """The request that was answered last of those that came with this packet id in this session."""
        with self.transaction() as db:
            return last_use(db, delivery)

    def answered_frame(self, requests: tuple[str, str]) -> Outgoing | None:
        """What answered the first of the requests that has an answer: without a topic where it is not given again."""
        with self.transaction() as db:
            for request in requests:
                row = db.execute("SELECT topic, payload FROM frames WHERE request = ?", (request,)).fetchone()
                if row:
                    return Outgoing(row[0] or "", row[1] or b"", "application/json")
        return None

    def hold(self, request: str, message: Outgoing, answers: Remembered | None) -> None:
        """Keep a result until its outputs have been done; after a kill, `release_held` gives out what is kept here.

        From now on a duplicate of the frame `request` is known to be one.
        """
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO held (request, topic, payload) VALUES (?, ?, ?)",
                (request, message.topic, message.payload),
            )
            if answers is not None:
                answers.remember(db, None)

    def release(self, request: str, message: Outgoing) -> None:
        """In one transaction: the result with what its outputs did into the outbox, and what was held out."""
        with self.transaction(lasting=False) as db:
            self._release(db, request, message)

    def release_held(self) -> int:
        """After a kill: give out what was held, as it is; returns how many results these were."""
        with self.transaction() as db:
            held = db.execute("SELECT request, topic, payload FROM held ORDER BY rowid").fetchall()
            for request, topic, payload in held:
                self._release(db, request, Outgoing(topic, payload, "application/json"))
        return len(held)

    def _release(self, db: sqlite3.Connection, request: str, message: Outgoing) -> None:
        self.insert(db, message)
        db.execute(
            "UPDATE frames SET topic = ?, payload = ? WHERE request = ?", (message.topic, message.payload, request)
        )
        db.execute("DELETE FROM held WHERE request = ?", (request,))

    def hold_rejection(
        self, camera: str, code: str, merge: Callable[[bytes | None], bytes], answers: FrameAnswer | None
    ) -> bytes:
        """Merge a rejection into the event that is held back for this camera and code; returns that event's body."""
        with self.transaction() as db:
            row = db.execute("SELECT body FROM rejections WHERE camera = ? AND code = ?", (camera, code)).fetchone()
            body = merge(row[0] if row else None)
            db.execute("INSERT OR REPLACE INTO rejections (camera, code, body) VALUES (?, ?, ?)", (camera, code, body))
            if answers is not None:
                answers.remember(db, None)
        return body

    def held_rejections(self) -> list[tuple[str, str]]:
        """Camera and code of each event that is held back."""
        with self.transaction() as db:
            return [(str(camera), str(code)) for camera, code in db.execute("SELECT camera, code FROM rejections")]

    def release_rejection(self, camera: str, code: str, topic: str) -> None:
        """In one transaction: the event that is held back out, and into the outbox."""
        with self.transaction() as db:
            row = db.execute("SELECT body FROM rejections WHERE camera = ? AND code = ?", (camera, code)).fetchone()
            if row:
                self.insert(db, Outgoing(topic, row[0], "application/json"))
                db.execute("DELETE FROM rejections WHERE camera = ? AND code = ?", (camera, code))

    def close(self) -> None:
        self._database.close()
