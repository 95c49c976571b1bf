"""A stream over MQTT: the newest frame wins, stamped when it arrived; triggered ones all stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.arrivals import Arrivals
from lineside.edge.frames.intake import FrameIntake
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.traffic import Message
from tests.support.station import TOPICS

FRAMES = 200


def test_of_a_stream_the_newest_stay_and_of_triggered_frames_each() -> None:
    arrivals: Arrivals[str] = Arrivals()
    gave_way = [arrivals.put("a", f"a{number}", streamed=True) for number in range(FRAMES)]
    assert gave_way == [None, None, *(f"a{number}" for number in range(FRAMES - 2))]
    for number in range(3):
        assert arrivals.put("a", f"triggered {number}", streamed=False) is None
    arrivals.put("b", "b0", streamed=True)
    assert len(arrivals) == 3
    taken = [arrivals.get() for _ in range(6)]
    assert taken == ["a198", "triggered 0", "b0", "a199", "triggered 1", "triggered 2"], "each in its turn"
    threading.Timer(0.05, arrivals.close).start()
    assert arrivals.get() is None


class BusyPipeline:
    """Holds the intake's thread at its first frame until `go`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.reached, self.go = threading.Event(), threading.Event()
        self.newest = threading.Event()

    def offer(self, frame: Frame, *, triggered: bool, done: Callable[[], None], ages: bool) -> None:
        del triggered, done, ages
        self.frames.append(frame)
        self.reached.set()
        self.go.wait(60)
        if frame.name == str(FRAMES - 1):
            self.newest.set()


def message(number: int) -> Message:
    return Message("", b"x", 0, False, "", None, None, {"name": str(number)}, lambda: None)


def test_a_flood_leaves_the_newest_frame_with_its_time_of_arrival(tmp_path: Path) -> None:
    """The intake is slow; what it gets afterwards is the newest, as old as it is."""
    pipeline, counters = BusyPipeline(), Counters()
    store = Store(tmp_path / "s.db", 100)
    answers = Answers(TOPICS, store, Outbox(store, cast(Connection, None), counters, Degraded()), counters)
    intake = FrameIntake({"cam"}, tmp_path, 1000, cast(Pipeline, pipeline), answers, counters)
    intake.start()
    intake.accept("cam", message(0))
    assert pipeline.reached.wait(60)
    for number in range(1, FRAMES):
        intake.accept("cam", message(number))
    arrived, arrived_at = time.monotonic(), datetime.now(UTC)
    time.sleep(0.05)
    pipeline.go.set()
    assert pipeline.newest.wait(60)
    intake.close()
    store.close()
    assert [frame.name for frame in pipeline.frames] == ["0", str(FRAMES - 2), str(FRAMES - 1)]
    assert pipeline.frames[-1].received <= arrived
    assert pipeline.frames[-1].captured_at <= arrived_at
    assert counters.snapshot() == {"frames_received": FRAMES - 3, "frames_dropped": FRAMES - 3}
