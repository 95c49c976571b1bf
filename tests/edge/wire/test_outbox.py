"""The sender: what it was given arrives, in order, whatever the connection and the disk do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from lineside.edge.counters import Counters
from lineside.edge.errors import BrokerError, QueueFull, StoreError
from lineside.edge.wire.mqtt import INFLIGHT, Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import FrameAnswer, Outgoing, Store
from tests.support.wait import LIMIT_S


class Full(Store):
    """A store on a disk that refuses new messages while `full` is set."""

    full = False

    def enqueue(self, message: Outgoing, answers: FrameAnswer | None = None) -> int:
        if self.full:
            raise StoreError("no space")
        return super().enqueue(message, answers)


class Line:
    """A connection that `refuses`, attempt by attempt, with QueueFull; all that come behind those it takes. Before it
    refuses it does what is in `meanwhile`.

    What is named in `too_large` is refused for good. `held` keeps back acknowledgements until `acknowledge`.
    """

    def __init__(self) -> None:
        self.connected = threading.Event()
        self.refuses: list[bool] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.held = False
        self.too_large: set[str] = set()
        self.sent: list[str] = []
        self.most_unacknowledged = 0
        self._unacknowledged: list[Callable[[], None]] = []
        self._condition = threading.Condition()

    def publish(self, topic: str, payload: bytes, *, delivered: Callable[[], None], **_options: object) -> None:
        del topic
        with self._condition:
            if payload.decode() in self.too_large:
                raise BrokerError("too large")
            if self.refuses and self.refuses.pop(0):
                self.meanwhile()
                raise QueueFull("full")
            self.sent.append(payload.decode())
            self._condition.notify_all()
            if self.held:
                self._unacknowledged.append(delivered)
                self.most_unacknowledged = max(self.most_unacknowledged, len(self._unacknowledged))
                return
        delivered()

    def acknowledge(self) -> None:
        """The oldest message that waits for it."""
        with self._condition:
            delivered = self._unacknowledged.pop(0)
        delivered()

    def wait(self, count: int) -> list[str]:
        """What was sent, once it is so many."""
        with self._condition:
            assert self._condition.wait_for(lambda: len(self.sent) >= count, LIMIT_S), self.sent
            return list(self.sent)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.outbox.IDLE_S", 0.005)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Full]:
    opened = Full(tmp_path / "s.db", 1000)
    yield opened
    opened.close()


@contextmanager
def sending(store: Store, line: Line) -> Iterator[tuple[Outbox, Counters]]:
    """An outbox that begins to send when `line.connected` is set."""
    counters = Counters()
    outbox = Outbox(store, cast(Connection, line), counters)
    outbox.start()
    yield outbox, counters
    outbox.close()


def put(outbox: Outbox, *texts: str, expires: float | None = None) -> None:
    for text in texts:
        outbox.put(Outgoing("t", text.encode(), "text/plain", None, expires))


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("full", [False, True], ids=["on disk", "in memory"])
@pytest.mark.parametrize("refusals", [1, 3 * INFLIGHT])
def test_nothing_is_lost_or_doubled_by_a_full_connection(store: Full, full: bool, refusals: int) -> None:
    """Also where that happens more often than there are places for messages under way."""
    line = Line()
    store.full, line.refuses = full, [True] * refusals
    with sending(store, line) as (outbox, _):
        put(outbox, *numbers(2 * INFLIGHT))
        line.connected.set()
        assert line.wait(2 * INFLIGHT) == numbers(2 * INFLIGHT)
        assert outbox.drain(LIMIT_S)
    assert line.sent == numbers(2 * INFLIGHT)


def test_what_the_disk_refused_goes_first_and_is_kept_by_a_full_connection(store: Full) -> None:
    """Three messages are in memory, two on disk; the connection is full behind the first, second and fourth."""
    line = Line()
    line.refuses = [False, True, True, False, True, False, False, True]
    with sending(store, line) as (outbox, counters):
        put(outbox, "disk 1")
        store.full = True
        put(outbox, "memory 1", "memory 2", "memory 3")
        store.full = False
        put(outbox, "disk 2")
        line.connected.set()
        assert line.wait(5) == ["memory 1", "memory 2", "memory 3", "disk 1", "disk 2"]
        assert outbox.drain(LIMIT_S)
    assert len(line.sent) == 5
    assert counters.snapshot() == {"store_errors": 3}


def test_what_comes_while_others_are_put_back_is_kept_behind_them(store: Full) -> None:
    line = Line()
    line.refuses = [False, True]
    store.full = True
    with sending(store, line) as (outbox, _):
        put(outbox, *numbers(3))
        line.meanwhile = lambda: put(outbox, "3", "4")
        line.connected.set()
        assert line.wait(5) == numbers(5)
    assert line.sent == numbers(5)


def test_the_memory_keeps_the_newest(store: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "MEMORY_LIMIT", 3)
    line = Line()
    store.full = True
    with sending(store, line) as (outbox, counters):
        put(outbox, *numbers(5))
        assert not outbox.drain(0.01)
        line.connected.set()
        assert line.wait(3) == ["2", "3", "4"]
    assert counters.snapshot() == {"store_errors": 5, "outbox_dropped": 2}


def test_a_message_stays_on_disk_until_the_broker_has_it(store: Full) -> None:
    """So many are under way at most; each acknowledgement lets one more go."""
    line = Line()
    line.held = True
    with sending(store, line) as (outbox, _):
        put(outbox, *numbers(3 * INFLIGHT))
        line.connected.set()
        for number in range(3 * INFLIGHT):
            line.wait(min(number + INFLIGHT, 3 * INFLIGHT))
            assert store.outbox_size() == 3 * INFLIGHT - number
            line.acknowledge()
        assert outbox.drain(LIMIT_S)
    assert line.sent == numbers(3 * INFLIGHT)
    assert line.most_unacknowledged == INFLIGHT


def test_what_never_goes_out_takes_no_place(store: Full) -> None:
    """Expired while they waited, or too large for the broker: more of them than may be under way at once."""
    line = Line()
    large = [f"large {number}" for number in range(INFLIGHT + 1)]
    line.too_large = set(large)
    store.full = True  # the store would drop what has expired by itself
    with sending(store, line) as (outbox, counters):
        put(outbox, *(f"old {number}" for number in range(INFLIGHT + 1)), expires=time.time() - 1)
        store.full = False
        put(outbox, *large)
        put(outbox, "last")
        line.connected.set()
        assert line.wait(1) == ["last"]
        assert outbox.drain(LIMIT_S)
    counted = counters.snapshot()
    assert (counted["outbox_expired"], counted["outbox_oversize"]) == (INFLIGHT + 1, INFLIGHT + 1)
