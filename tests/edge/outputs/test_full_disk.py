"""A result that the disk refused while it waited for its outputs is given once all the same."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.errors import StoreError
from lineside.edge.frames.answers import Delivered
from lineside.edge.frames.part import Part
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.wire.identity import Delivery, Use
from lineside.edge.wire.trigger_store import Arriving, StoredTrigger, TriggerStore
from tests.support.outputs import Station, result_of
from tests.support.wait import LIMIT_S, until

DELIVERED = Delivered(Delivery("s", 1, False), Use("c", 1))


def test_frames_and_triggers_are_known_to_be_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, part = Frame("top", id="f" * 32), Part("eye", id="t1")
    go = threading.Event()

    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    with Station(tmp_path, reject=OutputConfig("modbus", pulse_s=0.01, timeout_s=60)) as station:
        until(lambda: station.machines["reject"].levels == [False])
        station.machines["reject"].connecting = lambda: assert_set(go)
        triggers = TriggerStore(station.store)
        triggers.take_over([Arriving(StoredTrigger(part.id, "eye", "", "", 0.0))], lasting=True)
        assert station.answers.take(frame, DELIVERED, lambda: None)
        with monkeypatch.context() as full:
            full.setattr(station.store, "hold", refuse)
            for one in (frame, part):
                station.outputs.deliver(one, result_of(one, "fail"))
                station.answers.done(one)
        assert triggers.waiting()
        go.set()
        for one in (frame, part):
            assert station.outputs_of(one.id)["reject"]["outcome"] == "done"
        assert triggers.waiting() == []  # a start would look at it again
        assert not station.answers.take(frame, DELIVERED, lambda: None)


def assert_set(event: threading.Event) -> None:
    assert event.wait(LIMIT_S)
