"""A frame is acknowledged once it has been dealt with, once, and not before: until then the broker keeps it."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.daemon import Daemon
from lineside.runtime.engine.scheduler import Request, Scheduler
from lineside.runtime.inspection.inspector import Inspector
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.small import small_picture
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S

NEVER = 1_000_000


PICTURE = small_picture()


class Acknowledgement:
    """Counts how often it was given."""

    def __init__(self) -> None:
        self.count = 0
        self.given = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self.given.set()


@pytest.fixture
def daemon(broker: Mosquitto, client: Client, tmp_path: Path) -> Iterator[Daemon]:
    del client  # it must be subscribed before anything is published
    with Daemon(station(broker.port, tmp_path)) as running:
        assert running.wait_online(LIMIT_S)
        yield running


def offer(daemon: Daemon, data: bytes, part: str, *, triggered: bool = True, age_s: float = 0.0) -> Acknowledgement:
    done = Acknowledgement()
    frame = Frame("cam0", data=data, part_id=part, received=time.monotonic() - age_s)
    daemon.pipeline.offer(frame, triggered=triggered, done=done)
    return done


def rejected(message: Received) -> bool:
    return "/event/" in message.topic and message.json()["event_type"] == "frame_rejected"


def inspected(client: Client) -> list[str]:
    """The parts that have a result."""
    return [message.json()["part_id"] for message in client.received if message.topic == TOPICS.result("cam0")]


class Turns:
    """The engine's turns, counted, and from the `last` on given to nobody who is not cancelled, until `free` is set."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._turn = scheduler.turn
        self.taken, self.last = 0, NEVER
        self.asked, self.free = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> AbstractContextManager[None]:
        self.taken += 1
        if self.taken >= self.last:
            self.asked.set()
            while request.problem() is None and not self.free.wait(0.01):
                pass
        return self._turn(request)


@contextmanager
def busy(daemon: Daemon) -> Iterator[Turns]:
    """The engine is somebody else's meanwhile; `asked` says that a frame has begun to wait for it."""
    daemon.engine.scheduler.turn = turns = Turns(daemon.engine.scheduler)  # type: ignore[method-assign, assignment]
    turns.last = 0
    yield turns
    turns.free.set()


def test_a_frame_that_is_too_old_when_its_turn_comes_is_rejected(daemon: Daemon, client: Client) -> None:
    limit_s = daemon.config.inspect.max_age_s
    old, young = offer(daemon, PICTURE, "old", age_s=limit_s + 1), offer(daemon, PICTURE, "young")
    result = client.on(TOPICS.result("cam0"))[0].json()
    assert (result["part_id"], "late" in result) == ("young", False)
    event = client.wait_for(rejected)[0].json()
    assert (event["part_id"], event["error"]["code"]) == ("old", "too_old")
    assert old.given.wait(LIMIT_S)
    assert young.given.wait(LIMIT_S)
    assert (old.count, young.count) == (1, 1)
    assert daemon.counters.snapshot()["results"] == 1


def test_a_frame_that_waited_too_long_is_rejected(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """Over the wire: none whose sender says when it was captured is young enough for this station. Of another nobody
    knows how old it is: it has not waited when its turn comes.
    """
    config = station(broker.port, tmp_path)
    config = dataclasses.replace(config, inspect=dataclasses.replace(config.inspect, max_age_s=1e-9))
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for part in ("a", "b"):
            user = {"part_id": part, "captured_at": datetime.now(UTC).isoformat()}
            client.publish(TOPICS.frame("cam0"), PICTURE, user=user)
        events = [message.json() for message in client.wait_for(rejected, count=2)]
        assert [(event["part_id"], event["error"]["code"]) for event in events] == [("a", "too_old"), ("b", "too_old")]
        assert inspected(client) == []
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "c"})
        assert client.on(TOPICS.result("cam0"))[0].json()["part_id"] == "c"


def test_each_frame_is_acknowledged_once_whatever_becomes_of_it(daemon: Daemon, client: Client) -> None:
    """Inspected, undecodable, or replaced by a newer one; and not while it waits, however many do."""
    with busy(daemon) as engine:
        waiting = [offer(daemon, PICTURE, "first")]
        assert engine.asked.wait(LIMIT_S)
        waiting += [offer(daemon, PICTURE, str(number)) for number in range(40)]
        bad = offer(daemon, PICTURE[:100], "bad")
        streamed = [offer(daemon, PICTURE, f"streamed {number}", triggered=False) for number in range(3)]
        assert [done.count for done in (bad, *streamed)] == [1, 1, 0, 0], (
            "the one before the newest is kept in case the newest cannot be decoded"
        )
        assert [done.count for done in waiting] == [0] * len(waiting)
    for done in (*waiting, *streamed):
        assert done.given.wait(LIMIT_S)
    assert [done.count for done in (*waiting, bad, *streamed)] == [1] * (len(waiting) + 4)
    assert client.wait_for(rejected)[0].json()["error"]["code"] == "picture_undecodable"


def test_what_a_stop_breaks_off_is_sent_again(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """One frame is under way and others wait when the station stops: none is acknowledged, neither to the broker nor
    to whom else it came from, and the next start inspects what the broker has kept.
    """
    parts = ["under way", "waits", "waits too"]
    first = Daemon(station(broker.port, tmp_path))
    with busy(first) as engine:
        with first:
            assert first.wait_online(LIMIT_S)
            client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": parts[0]})
            assert engine.asked.wait(LIMIT_S)
            others = [offer(first, PICTURE, "offered", triggered=triggered) for triggered in (True, False)]
            for part in parts[1:]:
                client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": part})
        assert [done.count for done in others] == [0, 0]
    assert inspected(client) == []
    with Daemon(station(broker.port, tmp_path)) as second:
        assert second.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "after"})
        client.wait_for(lambda message: message.topic == TOPICS.result("cam0") and b'"after"' in message.payload)
        assert inspected(client) == [*parts, "after"]
    assert not [message for message in client.received if rejected(message)]


@pytest.mark.parametrize(("answers", "turns"), [(0, 1), (0, 2), (2, 1)])
def test_wherever_a_stop_breaks_a_frame_off_it_is_not_acknowledged(
    broker: Mosquitto,
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: int,
    turns: int,
) -> None:
    """Before its first turn at the engine, before its second, or when the second of its two views is described: this
    station sees a defect everywhere, and takes a second look at it.
    """
    monkeypatch.setattr(Inspector, "_worth_another", lambda *_: True)
    config = station(broker.port, tmp_path)
    config = dataclasses.replace(config, inspect=dataclasses.replace(config.inspect, pass_below=0.0, fail_above=0.0))
    daemon = Daemon(config)
    whole, begun = daemon.engine.decode, []
    with busy(daemon) as engine:

        def decode(*arguments: Any, **options: Any) -> Any:
            begun.append(engine.taken)
            if len(begun) == answers:
                engine.last = engine.taken + turns
            return whole(*arguments, **options)

        daemon.engine.decode = decode  # type: ignore[method-assign]
        engine.last = NEVER if answers else turns
        with daemon:
            assert daemon.wait_online(LIMIT_S)
            done = offer(daemon, PICTURE, "under way")
            assert engine.asked.wait(LIMIT_S)
    assert done.count == 0
    assert len(begun) == answers
    assert inspected(client) == []
    assert "frames_rejected" not in daemon.counters.snapshot()


def test_what_was_dealt_with_is_not_sent_again(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """Frames that are refused for every reason, and returns and confirmations that nobody waits for, leave nothing
    at the broker for the next start.
    """
    config = station(broker.port, tmp_path)
    config = dataclasses.replace(config, store=dataclasses.replace(config.store, max_payload_bytes=1_000_000))
    with Daemon(config) as first:
        assert first.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), PICTURE)
        client.publish(TOPICS.frame("cam0"), PICTURE[:100])
        client.publish(TOPICS.frame("cam0"), bytes(1_000_001))
        client.publish(TOPICS.frame("cam9"), PICTURE)
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"captured_at": "yesterday"})
        client.publish(TOPICS.frame("cam0"), json.dumps({"path": "../x", "sha256": "0" * 64}))
        for topic in (TOPICS.returned("stop_line"), TOPICS.confirm("stop_line"), TOPICS.command("ask/x")):
            client.publish(topic, b"{}")
        codes = [message.json()["error"]["code"] for message in client.wait_for(rejected, count=5)]
        client.on(TOPICS.result("cam0"))
    assert sorted(codes) == sorted(
        ["picture_undecodable", "too_large", "unknown_camera", "malformed", "reference_refused"]
    )
    with Daemon(config) as second:
        assert second.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "after"})
        client.on(TOPICS.result("cam0"), count=2)
    counted = second.counters.snapshot()
    assert (counted["frames_received"], counted["results"], counted["engine_requests"]) == (1, 1, 1)
    assert not [name for name in counted if "rejected" in name or "duplicate" in name]
