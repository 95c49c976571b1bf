"""Snapshots are drawn beside the inspections: of each camera the newest, and none is waited for."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.frames.last_state import LastState
from lineside.edge.frames.results import Clock, to_result
from lineside.edge.wire.messages import InspectionResult, WireModel
from lineside.edge.wire.mqtt import Connection
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.timings import Counts, Timings
from tests.support.station import TOPICS
from tests.support.wait import LIMIT_S

PICTURE = np.zeros((8, 8, 3), np.uint8)
PASSED = Inspection("pass", 1.0, 0.0, (), "stop", Timings(), Counts())


class Wire:
    """Takes everything; the first picture is held up until `go`."""

    def __init__(self) -> None:
        self.connected, self.busy, self.go = threading.Event(), threading.Event(), threading.Event()
        self.connected.set()
        self.states: list[bytes] = []

    def publish(self, topic: str, payload: bytes, **options: Any) -> None:
        if topic == TOPICS.snapshot("cam0"):
            self.busy.set()
            assert self.go.wait(LIMIT_S)
        else:
            self.states.append(payload)
            options["ended"](type("Ended", (), {"kind": "acknowledged"}))


def result(frame: Frame) -> InspectionResult:
    inspector = type("Untaught", (), {"task": type("Task", (), {"report": None}), "calibration": None})
    model = WireModel(name="m", sha256="0")
    return to_result(frame, PASSED, cast(Inspector, inspector), model, Clock(0.0, 0.0), 10.0)


def test_the_newest_is_shown() -> None:
    wire = Wire()
    last = LastState(TOPICS, cast(Connection, wire), Counters())
    last.start()
    frames = [Frame("cam0", data=b"x", name=f"{number}.jpg") for number in range(4)]
    for frame in frames:
        last.show(frame, PICTURE, PASSED, result(frame))
        assert wire.busy.wait(LIMIT_S)
    wire.go.set()
    last.close()
    assert frames[-1].id.encode() in wire.states[-1]
    assert len(wire.states) == 2
