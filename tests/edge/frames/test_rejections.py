"""Thousands of rejected frames are a few events, and every one of them is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.rejections import MAX_PART_IDS
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from tests.support.station import TOPICS


class Unplugged:
    """The answers of a station that never connects."""

    def __init__(self, path: Path) -> None:
        self.store, self.counters = Store(path, 100_000), Counters()
        self.store._database._db.execute("PRAGMA synchronous=OFF")
        self.answers = Answers(
            TOPICS, self.store, Outbox(self.store, cast(Connection, None), self.counters, Degraded()), self.counters
        )

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.store.pending(0, 100_000)]

    def close(self) -> None:
        self.answers.close()
        self.store.close()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Unplugged]:
    opened = Unplugged(tmp_path / "s.db")
    yield opened
    opened.close()


def total(events: list[dict[str, Any]]) -> int:
    return sum(event.get("count", 1) for event in events)


def test_five_thousand_are_few_events_and_all_counted(station: Unplugged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.frames.rejections.EVERY_S", 60.0)
    station.answers.start()
    for number in range(5000):
        station.answers.reject(Frame(f"cam{number % 2}"), ("malformed", "too_large")[number % 2], f"bad {number}")
        if number == 1:
            assert [event["camera"] for event in station.events()] == ["cam0", "cam1"]  # the first of each at once
    station.answers.close()
    events = station.events()
    assert (len(events), total(events)) == (4, 5000)
    assert sorted(event["error"]["message"] for event in events) == ["bad 0", "bad 1", "bad 4998", "bad 4999"]
    assert len({event["id"] for event in events}) == 4
    assert station.counters.snapshot()["frames_rejected"] == 5000


def test_what_is_gathered_goes_out_by_itself(station: Unplugged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.frames.rejections.EVERY_S", 0.05)
    out = threading.Event()
    released = station.store.release_rejection

    def release(camera: str, code: str, topic: str) -> None:
        released(camera, code, topic)
        out.set()

    monkeypatch.setattr(station.store, "release_rejection", release)
    station.answers.start()
    for _ in range(3):
        station.answers.reject(Frame("cam0"), "malformed", "bad")
    assert out.wait(60)
    assert total(station.events()) == 3


def test_every_part_is_named(station: Unplugged) -> None:
    count = 2 * MAX_PART_IDS + 50
    for number in range(count):
        station.answers.reject(Frame("cam0", part_id=f"A-{number}"), "malformed", "bad")
    station.answers.close()
    events = station.events()
    parts = [part for event in events for part in event.get("part_ids", [event["part_id"]])]
    assert sorted(parts) == sorted(f"A-{number}" for number in range(count))
    assert (len(events), total(events)) == (4, count)


def test_a_kill_loses_none(tmp_path: Path) -> None:
    """What was gathered when the power went goes out at the next start."""
    first = Unplugged(tmp_path / "s.db")
    for _ in range(10):
        first.answers.reject(Frame("cam0"), "malformed", "bad")
    first.store.close()
    second = Unplugged(tmp_path / "s.db")
    assert total(second.events()) == 1
    second.answers.start()
    second.answers.close()
    assert total(second.events()) == 10
    second.store.close()


def test_the_id_of_a_rejection_follows_from_the_frame(station: Unplugged) -> None:
    for code in ("malformed", "busy"):
        station.answers.reject(Frame("cam0", id="f"), code, "bad")
    station.answers.reject(Frame("cam1", id="f"), "malformed", "bad")
    first, other, again = (event["id"] for event in station.events())
    assert first == again != other
