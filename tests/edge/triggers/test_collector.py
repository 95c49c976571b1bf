"""Which pictures are of which part."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.edge.errors import RequestError
from lineside.edge.frames.mailbox import Work
from lineside.edge.frames.part import Part
from lineside.edge.triggers.collector import HELD_FRAMES, Collector
from lineside.edge.triggers.gathering import Gathering
from lineside.edge.triggers_config import TriggerConfig
from lineside.edge.wire.trigger_store import StoredTrigger
from tests.support.wait import LIMIT_S, until

CAMERAS = {"top": CameraConfig("mqtt"), "side": CameraConfig("mqtt"), "files": CameraConfig("folder", "f")}
LIVE = "stream"


class Bench:
    """A collector without a station; `after` says what a live camera gives."""

    def __init__(self, **triggers: TriggerConfig) -> None:
        self.triggers = triggers
        self.parts: list[Part] = []
        self.works: list[Work] = []
        self.streamed, self.refused, self.dropped = list[Frame](), list[Frame](), list[Frame]()
        self.codes = list[str]()
        self.ended = list[str]()
        self.after_s = 0.0
        self.asked = list[tuple[float, float]]()
        self.passed = threading.Event()
        """What a live camera is asked for that is still to come waits for it."""
        self.collector = Collector(
            triggers,
            lambda: CAMERAS,
            lambda camera: camera == LIVE,
            self._after,
            self._put,
            self._refuse,
            self.dropped.append,
        )
        self.collector.start()

    def _after(self, camera: str, moment: float, timeout_s: float) -> Frame:
        self.asked.append((moment, timeout_s))
        if moment > time.monotonic():
            assert self.passed.wait(LIMIT_S)
        if self.after_s < 0:
            raise RequestError("camera_frozen", f"camera {camera}: frozen")
        return Frame(camera, pixels=np.zeros((2, 2, 3), np.uint8), received=moment + self.after_s)

    def _refuse(self, frame: Frame, problem: RequestError) -> None:
        self.refused.append(frame)
        self.codes.append(problem.code)

    def _put(self, work: Work, _triggered: bool) -> None:
        if isinstance(work.frame, Part):
            self.parts.append(work.frame)
            self.works.append(work)
        else:
            self.streamed.append(work.frame)

    def begin(
        self,
        name: str,
        part: str = "",
        *,
        resumed: bool = False,
        off: dict[str, str] | None = None,
        age_s: float = 0.0,
        announced: object = None,
    ) -> Gathering:
        config, now = self.triggers[name], time.monotonic() - age_s
        trigger = StoredTrigger(f"{name}-{part}-{now}", name, "", part, time.time())
        deadline = now + config.delay_s + config.wait_s
        gathering = Gathering(trigger, config, now, deadline, lambda: self.ended.append(part), resumed=resumed)
        gathering.announced = announced
        self.collector.begin(gathering, off or {})
        return gathering

    def send(self, camera: str, part: str = "", *, age_s: float = 0.0, triggered: bool = True) -> Frame:
        frame = Frame(camera, data=b"jpeg", part_id=part, received=time.monotonic() - age_s)
        assert self.collector.offer(Work(frame), triggered)
        return frame

    def missing(self, at: int = 0) -> list[tuple[str, str]]:
        return [(one.camera, one.code) for one in self.parts[at].missing]


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    opened: list[Bench] = []
    yield opened
    for bench in opened:
        bench.collector.close()


def opened(benches: list[Bench], **triggers: TriggerConfig) -> Bench:
    benches.append(Bench(**triggers))
    return benches[-1]


def test_what_names_a_part_is_of_that_part_whatever_came_first(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top", "side"), wait_s=LIMIT_S))
    early = bench.send("side", "B", age_s=1.0)
    bench.begin("eye", "A")
    bench.begin("eye", "B")
    second, first = bench.send("top", "B"), bench.send("top", "A")
    assert [part.part_id for part in bench.parts] == ["B"]
    last = bench.send("side", "A")
    assert [part.views for part in bench.parts] == [(second, early), (first, last)]


def test_what_names_none_is_of_the_part_that_waits_from_the_trigger_on(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S))
    bench.send("top", age_s=0.5)
    bench.begin("eye")
    assert not bench.parts
    first = bench.send("top")
    bench.begin("eye")
    second = bench.send("top")
    assert [part.views for part in bench.parts] == [(first,), (second,)]


def test_a_frame_that_may_be_of_two_parts_is_of_none(benches: list[Bench]) -> None:
    """The first part's was lost: the second one's is not taken for it, and nothing is shifted."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S))
    for _ in range(2):
        bench.begin("eye")
    frame = bench.send("top")
    assert [bench.missing(at) for at in range(2)] == [[("top", "ambiguous")]] * 2
    bench.begin("eye")
    bench.send("top")
    assert bench.missing(2) == [("top", "ambiguous")]
    assert (bench.refused[0], set(bench.codes)) == (frame, {"ambiguous"})


@pytest.mark.parametrize("camera", ["top", "files"])
def test_a_picture_that_comes_after_the_time_of_its_part_is_not_of_the_next(benches: list[Bench], camera: str) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", (camera,), wait_s=LIMIT_S))
    bench.begin("eye", age_s=LIMIT_S)
    until(lambda: bench.parts)
    late = bench.send(camera)
    assert (bench.refused, bench.codes) == ([late], ["too_late"])
    bench.begin("eye")
    own = bench.send(camera)
    assert bench.missing() == [(camera, "camera_silent")]
    assert bench.parts[1].views == (own,)


def test_a_late_picture_is_not_of_the_part_that_waits(benches: list[Bench]) -> None:
    """A queue gives that one the next; a frame that was sent may be of either, and is of none."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top", "files"), wait_s=LIMIT_S))
    bench.begin("eye", age_s=LIMIT_S)
    until(lambda: bench.parts)
    waits = bench.begin("eye")
    bench.send("files")
    assert "files" not in waits.found
    own = bench.send("files")
    bench.send("top")
    assert bench.missing(1) == [("top", "ambiguous")]
    assert bench.parts[1].views == (own,)


def test_a_frame_that_says_its_time_is_of_the_part_of_that_time(benches: list[Bench]) -> None:
    """Whatever else was lost, late, or comes in another order."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S))
    gatherings = [bench.begin("eye", age_s=30.0 - at) for at in range(4)]
    frames = {at: Frame("top", data=b"jpeg", received=gatherings[at].moment + 0.5, stamped=True) for at in (3, 1)}
    twice = Frame("top", data=b"jpeg", received=gatherings[1].moment + 0.6, stamped=True)
    for frame in (*frames.values(), twice):
        bench.collector.offer(Work(frame), True)
    assert [part.views for part in bench.parts] == [(frames[3],), (frames[1],)]
    assert not gatherings[0].found
    assert not gatherings[2].found


@pytest.mark.parametrize("stamped", [True, False])
def test_a_frame_that_overtakes_its_trigger_is_not_of_the_part_before(benches: list[Bench], stamped: bool) -> None:
    """That one's was lost, and the trigger is still on its way to the disk."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S))
    first = bench.begin("eye", age_s=1.0)
    announced = bench.collector.announce("2", "eye", time.monotonic())
    frame = Frame("top", data=b"jpeg", stamped=stamped)
    bench.collector.offer(Work(frame), True)
    second = bench.begin("eye", age_s=0.5, announced=announced)
    assert not first.works()
    assert [work.frame for work in second.works()] == ([frame] if stamped else [])
    assert bench.codes == ([] if stamped else ["ambiguous"])


def test_a_frame_that_waits_for_its_trigger_is_not_of_one_before_it(benches: list[Bench]) -> None:
    """Both triggers are taken over at once, after it has come."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S))
    now = time.monotonic()
    announced = [bench.collector.announce(str(age_s), "eye", now - age_s) for age_s in (2.0, 1.0)]
    frame = Frame("top", data=b"jpeg", stamped=True)
    bench.collector.offer(Work(frame), True)
    first, second = (
        bench.begin("eye", age_s=age_s, announced=mark) for age_s, mark in zip((2.0, 1.0), announced, strict=True)
    )
    assert not first.works()
    assert [work.frame for work in second.works()] == [frame]


def test_a_queue_gives_no_picture_of_an_earlier_run_to_a_new_part(benches: list[Bench]) -> None:
    """What was not looked at before the station stopped is read again."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("files",), wait_s=LIMIT_S))
    bench.begin("eye", resumed=True)
    bench.begin("eye")
    again, own = bench.send("files"), bench.send("files")
    assert (bench.missing(), bench.refused) == ([("files", "station_stopped")], [again])
    assert bench.parts[1].views == (own,)


def test_what_came_just_before_counts_where_that_is_asked_for(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S, before_s=30.0))
    before = bench.send("top", age_s=5.0)
    bench.send("top", age_s=40.0)
    bench.begin("eye")
    assert [part.views for part in bench.parts] == [(before,)]


def test_a_part_that_travels_is_looked_at_later(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top", LIVE), wait_s=LIMIT_S, delay_s=30.0))
    bench.passed.set()
    moment = bench.begin("eye").moment
    bench.send("top")
    later = Frame("top", data=b"jpeg", received=moment + 31.0)
    bench.collector.offer(Work(later), True)
    until(lambda: bench.parts)
    assert bench.parts[0].views[0] is later
    assert bench.asked[0][0] == moment + 30.0


def test_a_folder_gives_each_part_its_next_picture(benches: list[Bench]) -> None:
    """One that is there before its trigger waits for it, and the folder with it."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("files",), wait_s=LIMIT_S))
    dealt_with = threading.Event()
    first = Frame("files", data=b"1", received=time.monotonic() - 3600)
    assert bench.collector.offer(Work(first, dealt_with.set), False)
    bench.begin("eye")
    assert bench.parts[0].views == (first,)
    assert not dealt_with.is_set()
    bench.works[0].done()
    assert dealt_with.is_set()
    assert bench.ended == [""]
    assert bench.collector.held_bytes() == 0


def test_a_camera_that_gives_nothing_in_time_is_named(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top", "side"), wait_s=0.01))
    frame = bench.send("top", "A")
    bench.begin("eye", "A")
    until(lambda: bench.parts)
    assert bench.parts[0].views == (frame,)
    assert bench.missing() == [("side", "camera_silent")]
    bench.send("side", "A")
    assert len(bench.parts) == 1


@pytest.mark.parametrize(("after_s", "code"), [(-1.0, "camera_frozen"), (7.0, "camera_late"), (0.0, "")])
def test_a_live_camera_is_asked_for_a_frame_of_the_right_time(benches: list[Bench], after_s: float, code: str) -> None:
    """One that comes too late may show the next part."""
    bench = opened(benches, eye=TriggerConfig("mqtt", (LIVE,), wait_s=5.0))
    bench.after_s = after_s
    bench.begin("eye")
    until(lambda: bench.parts)
    assert bench.missing() == ([(LIVE, code)] if code else [])
    assert bench.collector.offer(Work(Frame(LIVE)), False)
    assert [frame.camera for frame in bench.dropped] == [LIVE]


def test_a_camera_that_is_switched_off_is_missing_at_once(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S))
    bench.begin("eye", off={"top": "top is not inspected"})
    assert bench.missing() == [("top", "switched_off")]


def test_of_an_earlier_run_only_what_names_the_part_counts(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top", "files", LIVE), wait_s=LIMIT_S))
    bench.begin("eye", "A", resumed=True)
    bench.send("top")
    frame = bench.send("top", "A")
    assert bench.parts[0].views == (frame,)
    assert bench.missing() == [("files", "station_stopped"), (LIVE, "station_stopped")]


def test_frames_that_no_trigger_asked_for(benches: list[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """Are answered where they must be; of the others so many wait."""
    monkeypatch.setattr("lineside.edge.triggers.collector.HELD_S", 0.01)
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",)))
    answered, streamed = bench.send("top"), bench.send("top", triggered=False)
    until(lambda: bench.refused and bench.dropped)
    assert (bench.refused, bench.dropped) == ([answered], [streamed])
    monkeypatch.setattr("lineside.edge.triggers.collector.HELD_S", LIMIT_S)
    other = opened(benches, eye=TriggerConfig("mqtt", ("top",)))
    sent = [other.send("top", triggered=False) for _ in range(HELD_FRAMES + 3)]
    assert other.dropped == sent[:3]


def test_a_camera_that_is_inspected_all_the_same(benches: list[Bench]) -> None:
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",), wait_s=LIMIT_S, also_untriggered=True))
    assert not bench.collector.offer(Work(Frame("top")), False)
    bench.begin("eye")
    taken = bench.send("top")
    assert bench.parts[0].views == (taken,)
    assert not bench.collector.offer(Work(Frame("other")), False)


def test_frames_that_name_two_parts_are_never_one_verdict(benches: list[Bench]) -> None:
    """Where the triggers name none: what the first frame of a part calls it counts."""
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top", "side"), wait_s=LIMIT_S))
    first = bench.begin("eye")
    lone = bench.send("side", "A-1")
    bench.begin("eye")
    top, side = bench.send("top", "A-2"), bench.send("side", "A-2")
    assert [part.views for part in bench.parts] == [(top, side)]
    assert [work.frame for work in first.works()] == [lone]


def test_a_trigger_that_waits_long_holds_no_other_up_at_the_same_camera(benches: list[Bench]) -> None:
    slow, quick = (TriggerConfig("mqtt", (LIVE,), wait_s=LIMIT_S, delay_s=delay_s) for delay_s in (30.0, 0.0))
    bench = opened(benches, slow=slow, quick=quick)
    bench.begin("slow")
    until(lambda: bench.asked)
    bench.begin("quick")
    until(lambda: bench.parts)
    assert (bench.parts[0].camera, bench.missing()) == ("quick", [])
    bench.passed.set()
    until(lambda: len(bench.parts) == 2)


def test_frames_that_wait_for_a_trigger_are_counted_and_bounded(
    benches: list[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside.edge.triggers.collector.HELD_S", LIMIT_S)
    monkeypatch.setattr("lineside.edge.triggers.collector.EARLY_BYTES", 10)
    bench = opened(benches, eye=TriggerConfig("mqtt", ("top",)))
    sent = [bench.send("top", triggered=False) for _ in range(4)]
    assert bench.collector.held_bytes() == 8
    assert bench.dropped == sent[:2]
    whole = Frame("top", data=b"more than fits")
    assert bench.collector.offer(Work(whole), False)
    assert bench.collector.held_bytes() == len(whole.data or b"")
