"""The sender: what it was given arrives, in order, whatever the connection and the disk do meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import NotConnected, QueueFull, StoreError, TooLarge
from lineside.edge.steady import unix_time
from lineside.edge.wire.messages import CallReport, Reply
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import INFLIGHT, STRIKES, Outbox
from lineside.edge.wire.remembered import Remembered
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.traffic import Ending
from tests.support.wait import LIMIT_S


class Full(Store):
    """A store on a disk that refuses new messages while `full` is set."""

    full = False

    def enqueue(self, message: Outgoing, answers: Remembered | None = None, *, lasting: bool = True) -> int:
        if self.full:
            raise StoreError("no space")
        return super().enqueue(message, answers, lasting=lasting)


class Line:
    """A connection that does what `does` says, attempt by attempt; all that come behind those it takes.

    `full` and `away` raise, `refuse` and `lose` end the message so, `close` as the broker does that closes the
    connection over it. What is in `too_large` is more than the broker says it takes, `room`. `held` keeps back
    acknowledgements until `acknowledge`.
    """

    def __init__(self) -> None:
        self.connected = threading.Event()
        self.proved = True
        self.does: list[str] = []
        self.closes_over: set[str] = set()
        self.refuses: dict[str, int] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        self.held = False
        self.too_large: set[str] = set()
        self.limit: int | None = None
        self.sent: list[str] = []
        self.expiries: list[float | None] = []
        self.most_unacknowledged = 0
        self.unacknowledged: list[tuple[str, Callable[[Ending], None]]] = []
        self._condition = threading.Condition()

    def room(self, _topic: str, _content_type: str, _correlation: bytes | None) -> int | None:
        return self.limit

    def publish(
        self, topic: str, payload: bytes, *, ended: Callable[[Ending], None], expiry_s: float | None, **_options: object
    ) -> None:
        text = payload.decode()
        with self._condition:
            if text in self.too_large or (self.limit is not None and len(payload) > self.limit):
                raise TooLarge("too large")
            does = self.does.pop(0) if self.does else ""
            if does in ("full", "away"):
                self.meanwhile()
                raise QueueFull("full") if does == "full" else NotConnected("away")
            self.sent.append(text)
            self.expiries.append(expiry_s)
            self._condition.notify_all()
            if self.held:
                self.unacknowledged.append((topic, ended))
                self.most_unacknowledged = max(self.most_unacknowledged, len(self.unacknowledged))
                return
        if does == "refuse" or topic in self.refuses:
            ended(Ending("refused", "Not authorized", self.refuses.get(topic, 0x87)))
        elif does == "lose":
            ended(Ending("lost"))
        elif text in self.closes_over:
            ended(Ending("lost", suspicious=True, proved=True))
        else:
            ended(Ending("acknowledged"))

    def end(self, ending: Ending) -> None:
        """The oldest message that waits for its end."""
        with self._condition:
            _, ended = self.unacknowledged.pop(0)
        ended(ending)

    def acknowledge(self) -> None:
        self.end(Ending("acknowledged"))

    def wait(self, count: int) -> list[str]:
        """What was sent, once it is so many."""
        with self._condition:
            assert self._condition.wait_for(lambda: len(self.sent) >= count, LIMIT_S), self.sent
            return list(self.sent)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.outbox.IDLE_S", 0.005)
    monkeypatch.setattr("lineside.edge.wire.lanes.FIRST_WAIT_S", 0.005)
    monkeypatch.setattr("lineside.edge.wire.lanes.LONGEST_WAIT_S", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Full]:
    opened = Full(tmp_path / "s.db", 1000)
    yield opened
    opened.close()


@contextmanager
def sending(store: Store, line: Line, degraded: Degraded | None = None) -> Iterator[tuple[Outbox, Counters]]:
    """An outbox that begins to send when `line.connected` is set."""
    counters = Counters()
    outbox = Outbox(store, cast(Connection, line), counters, degraded or Degraded())
    outbox.start()
    yield outbox, counters
    outbox.close()


def put(outbox: Outbox, *texts: str, expires: float | None = None, topic: str = "t") -> None:
    for text in texts:
        outbox.put(Outgoing(topic, text.encode(), "text/plain", None, expires))


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("full", [False, True], ids=["on disk", "in memory"])
@pytest.mark.parametrize("attempts", [1, 3 * INFLIGHT])
@pytest.mark.parametrize("does", ["full", "away"])
def test_nothing_is_lost_or_doubled_by_a_full_connection(store: Full, full: bool, attempts: int, does: str) -> None:
    """Also where that happens more often than there are places for messages under way."""
    line = Line()
    store.full, line.does = full, [does] * attempts
    with sending(store, line) as (outbox, _):
        put(outbox, *numbers(2 * INFLIGHT))
        line.connected.set()
        assert line.wait(2 * INFLIGHT) == numbers(2 * INFLIGHT)
        assert outbox.drain(LIMIT_S)
    assert line.sent == numbers(2 * INFLIGHT)


def test_what_the_disk_refused_keeps_its_place(store: Full) -> None:
    """Three messages are in memory, one before and one behind them on disk; the connection is full now and then."""
    line = Line()
    line.does = ["", "full", "full", "", "full", "", "", "full"]
    with sending(store, line) as (outbox, counters):
        put(outbox, "disk 1")
        store.full = True
        put(outbox, "memory 1", "memory 2", "memory 3")
        store.full = False
        put(outbox, "disk 2")
        line.connected.set()
        assert line.wait(5) == ["disk 1", "memory 1", "memory 2", "memory 3", "disk 2"]
        assert outbox.drain(LIMIT_S)
    assert len(line.sent) == 5
    assert counters.snapshot() == {"store_errors": 3}


def test_what_comes_while_others_are_put_back_is_kept_behind_them(store: Full) -> None:
    line = Line()
    line.does = ["", "full"]
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
    """Of twenty topics so many are under way at most; each acknowledgement lets one more go."""
    line = Line()
    line.held = True
    with sending(store, line) as (outbox, _):
        for name in numbers(2 * INFLIGHT):
            put(outbox, name, topic=f"t{name}")
        line.connected.set()
        for number in range(2 * INFLIGHT):
            line.wait(min(number + INFLIGHT, 2 * INFLIGHT))
            assert store.outbox_size() == 2 * INFLIGHT - number
            line.acknowledge()
        assert outbox.drain(LIMIT_S)
    assert line.sent == numbers(2 * INFLIGHT)
    assert line.most_unacknowledged == INFLIGHT


def test_of_one_topic_one_message_is_under_way(store: Full) -> None:
    """So that none overtakes another, whatever becomes of it; a topic with a hundred before it does not wait."""
    line = Line()
    line.held = True
    with sending(store, line) as (outbox, _):
        put(outbox, *numbers(100))
        put(outbox, "stop", topic="call")
        line.connected.set()
        assert line.wait(2) == ["0", "stop"]
        line.end(Ending("lost"))
        assert line.wait(3) == ["0", "stop", "0"]
        line.acknowledge()
        line.end(Ending("refused", "Quota exceeded", 0x97))
        assert line.wait(4) == ["0", "stop", "0", "0"]
        line.acknowledge()
        assert line.wait(5) == ["0", "stop", "0", "0", "1"]


def test_what_never_goes_out_takes_no_place(store: Full) -> None:
    """Expired while they waited, or too large for the broker: more of them than may be under way at once."""
    line = Line()
    large = [f"large {number}" for number in range(INFLIGHT + 1)]
    line.too_large = set(large)
    with sending(store, line) as (outbox, counters):
        put(outbox, *(f"old {number}" for number in range(INFLIGHT + 1)), expires=time.time() - 1)
        put(outbox, *large)
        put(outbox, "last")
        line.connected.set()
        assert line.wait(1) == ["last"]
        assert outbox.drain(LIMIT_S)
    counted = counters.snapshot()
    assert (counted["outbox_expired"], counted["outbox_given_up"]) == (INFLIGHT + 1, INFLIGHT + 1)


def test_each_send_has_the_time_that_is_left(store: Full) -> None:
    """A call that the connection lost goes again with what it has left, and not at all when that is nothing."""
    line = Line()
    line.held = True
    with sending(store, line) as (outbox, counters):
        put(outbox, "call", expires=time.time() + 0.8)
        line.connected.set()
        line.wait(1)
        line.end(Ending("lost"))
        line.wait(2)
        first, second = line.expiries
        assert first is not None
        assert second is not None
        assert 0 < second < first <= 0.8
        deadline = time.monotonic() + second + 0.1
        put(outbox, "behind it")
        while time.monotonic() < deadline:
            time.sleep(0.02)
        line.end(Ending("lost"))
        assert line.wait(3) == ["call", "call", "behind it"]
    assert counters.snapshot()["outbox_expired"] == 1


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97])
def test_what_the_broker_refuses_waits_and_is_named(store: Full, code: int) -> None:
    """Eight messages of a topic that is refused stay, in order, while another topic goes on."""
    line, degraded = Line(), Degraded()
    line.refuses = {"result/cam0": code}
    with sending(store, line, degraded) as (outbox, counters):
        put(outbox, *numbers(8), topic="result/cam0")
        put(outbox, "a", "b", topic="result/cam1")
        line.connected.set()
        sent = line.wait(12)
        assert [text for text in sent if text in "ab"] == ["a", "b"]
        assert set(sent) == {"0", "a", "b"}
        assert ["result/cam0" in sentence for sentence in degraded.sentences()] == [True]
        assert store.outbox_size() == 8
        line.refuses = {}
        assert outbox.drain(LIMIT_S)
        seen = line.sent[line.sent.index("1") - 1 :]
    assert seen == numbers(8)
    assert counters.snapshot()["outbox_refused"] >= 10
    assert degraded.sentences() == []


def test_a_topic_that_is_no_topic_is_given_up(store: Full) -> None:
    line = Line()
    line.refuses = {"t": 0x90}
    with sending(store, line) as (outbox, counters):
        put(outbox, "x")
        put(outbox, "y", topic="other")
        line.connected.set()
        assert outbox.drain(LIMIT_S)
    assert sorted(line.sent) == ["x", "y"]
    assert counters.snapshot() == {"outbox_given_up": 1}


def reply(text: str, result: str = "") -> Outgoing:
    call = CallReport(id="c1", name="stop_line", arguments={}, outcome="achieved", result=result)
    body = Reply(command="ask", transaction="t-1", ok=True, text=text, calls=[call])
    return Outgoing("rsp/ask", body.encode(), "application/json", b"corr", time.time() + 60)


def test_a_reply_that_is_too_large_becomes_an_error_with_what_was_done(store: Full) -> None:
    line, degraded = Line(), Degraded()
    line.limit = 1000
    with sending(store, line, degraded) as (outbox, counters):
        outbox.put(reply("x" * 5000, "y" * 5000))
        line.connected.set()
        (sent,) = line.wait(1)
        assert outbox.drain(LIMIT_S)
    body = Reply.model_validate_json(sent)
    assert (body.ok, body.transaction, body.error and body.error.code) == (False, "t-1", "too_large")
    assert [(call.name, call.outcome) for call in body.calls] == [("stop_line", "achieved")]
    assert counters.snapshot() == {"outbox_shortened": 1}
    assert "rsp/ask" not in str(degraded.sentences())  # the fake does not name it
    assert len(degraded.sentences()) == 1


def test_what_the_broker_closes_the_connection_over_goes_alone_and_is_shortened(store: Full) -> None:
    """It says no limit. Others get through between the attempts, and after a few there is a shorter one."""
    line = Line()
    large = reply("x" * 5000)
    line.closes_over = {large.payload.decode()}
    with sending(store, line) as (outbox, counters):
        outbox.put(large)
        put(outbox, *numbers(5))
        line.connected.set()
        assert outbox.drain(LIMIT_S)
    assert line.sent.count(large.payload.decode()) == STRIKES
    assert [text for text in line.sent if len(text) == 1] == numbers(5)
    assert json.loads(line.sent[-1])["error"]["code"] == "too_large"
    assert counters.snapshot() == {"outbox_shortened": 1}


def test_what_cannot_be_shortened_is_given_up_after_a_few_tries(store: Full) -> None:
    line, degraded = Line(), Degraded()
    line.closes_over = {"poison"}
    given_up: list[str] = []
    with sending(store, line, degraded) as (outbox, counters):
        outbox.on_given_up.append(lambda message, _why: given_up.append(message.payload.decode()))
        put(outbox, "poison", "next")
        line.connected.set()
        assert outbox.drain(LIMIT_S)
    assert line.sent == ["poison"] * STRIKES + ["next"]
    assert given_up == ["poison"]
    assert counters.snapshot() == {"outbox_given_up": 1}
    assert len(degraded.sentences()) == 1


def test_a_suspect_goes_alone_and_after_others(store: Full) -> None:
    """A connection that was closed with three messages under way: none is blamed for the others."""
    line = Line()
    line.held = True
    with sending(store, line) as (outbox, _):
        for topic in "abc":
            put(outbox, topic, topic=topic)
        line.connected.set()
        line.wait(3)
        line.proved = False
        for _ in range(3):
            line.end(Ending("lost", suspicious=True, proved=True))
        put(outbox, "d", topic="d")
        assert line.wait(4)[3] == "d"
        line.acknowledge()
        line.proved = True
        outbox.wake()
        for number, topic in enumerate("abc"):
            assert line.wait(5 + number)[4 + number] == topic
            assert len(line.unacknowledged) == 1
            line.acknowledge()
        assert outbox.drain(LIMIT_S)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_clock_that_is_set_neither_drops_a_reply_nor_sends_a_call_late(
    store: Full, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    line, true = Line(), time.time
    with sending(store, line) as (outbox, counters):
        put(outbox, "call", expires=unix_time() - 0.001)
        put(outbox, "reply", expires=unix_time() + LIMIT_S)
        monkeypatch.setattr("time.time", lambda: true() + jump_s)
        line.connected.set()
        outbox.wake()
        assert line.wait(1) == ["reply"]
        assert outbox.drain(LIMIT_S)
    assert counters.snapshot()["outbox_expired"] == 1
    assert line.expiries[0] == pytest.approx(LIMIT_S, abs=LIMIT_S / 2)
