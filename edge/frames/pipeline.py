"""The worker of the frames: from the mailbox through the engine to the outbox."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.drain import Drain
from lineside.edge.errors import RequestError
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.drift_watch import DriftWatch
from lineside.edge.frames.last_state import LastState
from lineside.edge.frames.mailbox import Mailbox, Work
from lineside.edge.frames.newest import NewestFrames
from lineside.edge.frames.part import Part
from lineside.edge.frames.part_ids import PartIds
from lineside.edge.frames.results import Clock, to_result
from lineside.edge.frames.seen import Seen
from lineside.edge.frames.switches import Switches
from lineside.edge.frames.verdicts import combined, worst
from lineside.edge.history.keeper import History, Kept
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.evidence import absent, beside
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.inspection.preparing import upright_frame
from lineside.edge.inspection.watched import WatchedFor, open_watched
from lineside.edge.models import NoModel, there, wire_model
from lineside.edge.pulse import Pulse
from lineside.edge.wire.identity import request_id
from lineside.edge.wire.messages import InspectionResult, Verdict
from lineside.edge.wire.views import WireMissing
from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError, PictureError, RequestCancelled
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import nothing_shown
from lineside.runtime.inspection.preparation import AS_GIVEN, Preparation
from lineside.runtime.picture import check_picture
from lineside.runtime.timings import Timings, stopwatch

log = logging.getLogger("lineside.pipeline")


@dataclass(frozen=True)
class Look:
    """What a frame is looked at with: taken once a frame, so that it is exchanged between two."""

    settings: InspectConfig
    engine: Engine | NoModel
    inspectors: Mapping[str, Inspector | GatedInspector]
    degraded: Sequence[str] = ()
    watched: Mapping[str, WatchedFor] = field(default_factory=dict)
    part_ids: PartIds = field(default_factory=lambda: PartIds({}))

    def inspector(self, camera: str) -> Inspector | GatedInspector:
        """Raises RequestError where there is no model, or the camera has gone meanwhile."""
        there(self.engine)
        if camera not in self.inspectors:
            raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras] any more")
        return self.inspectors[camera]

    def preparation(self, camera: str) -> Preparation:
        """How its frames are made ready; as they are where it has gone, or there is no model."""
        return self.inspectors[camera].task.preparation if camera in self.inspectors else AS_GIVEN


def open_look(config: Config, engine: Engine | NoModel) -> Look:
    """Raises ConfigError where a camera's schema or reference cannot be used."""
    inspectors, degraded = ({}, []) if isinstance(engine, NoModel) else open_inspectors(config, engine)
    watched, unwatched = open_watched(config, inspectors)
    return Look(config.inspect, engine, inspectors, [*degraded, *unwatched], watched, PartIds(config.cameras))


class Pipeline:
    """One worker thread that inspects what the mailbox holds. A frame is decoded once, when its turn has come.

    Without a model each frame is rejected with the reason.

    Args:
        drift: sees whether the pictures are as those that were learnt from.
        station: what is not as the user would expect; here of a camera's last picture.

    Attributes:
        look: set by `exchange`, at any time: the frame under way ends with the one that it began with.
        deliver: gives the result of a frame out; `answers.give` where nothing else is done with it.
        observers: are told of each frame once its result was given out; they must return at once.
        newest: is given each frame as it comes.
        collect: is asked of each frame whether it takes it, for a part that a trigger announced; with whether it is one
            that must be answered.
        missed: is told of each camera that a part was judged without.
        shadow: is shown each frame with its verdict, once its result is on its way; it must return at once.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine | NoModel,
        answers: Answers,
        last: LastState,
        history: History,
        drift: DriftWatch,
        counters: Counters,
        *,
        switches: Switches | None = None,
        drain: Drain | None = None,
        station: Degraded | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._counters, self._answers, self._last, self._history = counters, answers, last, history
        self._switches, self._drain = switches or Switches(config.cameras), drain or Drain(0.0)
        self._station, self._pulse = station or Degraded(), pulse or Pulse()
        self._drift_watch = drift
        self.exchange(open_look(config, engine))
        self.deliver: Callable[[Frame, InspectionResult], None] = answers.give
        self.observers: list[Callable[[Seen], None]] = []
        self.shadow: Callable[[str, Picture, Verdict], None] | None = None
        self.newest: NewestFrames | None = None
        self.collect: Callable[[Work, bool], bool] | None = None
        self.missed: Callable[[Part, WireMissing], None] | None = None
        self.mailbox = Mailbox()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def exchange(self, look: Look) -> None:
        """Look at frames so from now on: the frame under way ends with what it began with."""
        self.look = look
        self._drift_watch.exchange(look.watched)

    def start(self) -> None:
        self._last.start()
        self._history.start()
        self._thread.start()

    def close(self) -> None:
        """The frame under way has what is left of the time to drain; one that is not done by then is given back."""
        self.mailbox.close()
        self._thread.join(timeout=self._drain.left_s())
        self._stopping.set()
        self._thread.join(timeout=5)
        self._last.close()
        self._history.close()

    def offer(
        self, frame: Frame, *, triggered: bool, done: Callable[[], None] = lambda: None, ages: bool = True
    ) -> None:
        """Hand in a frame, which waits as it is. One that is seen to be bad without decoding is rejected here and now.

        Where it does not age, as nobody knows when it was captured, its age counts from when its turn comes. `done` is
        called once: when the frame has its result, was rejected, or gave way to a newer one.
        """
        self._counters.add("frames_received")
        frame = self.look.part_ids.named(frame)
        if self.newest is not None and not frame.problem:
            self.newest.put(frame)
        if not triggered and not self._switches.inspected(frame.camera):
            self._counters.add("frames_not_inspected")
            done()
            return
        try:
            self._switches.check(frame.camera)
            if frame.problem:
                raise RequestError("unreadable", frame.problem)
            if frame.pixels is None:
                check_picture(frame.data or b"", self.look.settings.max_pixels)
        except (RequestError, PictureError) as error:
            self._answers.reject(frame, error.code, str(error))
            done()
            return
        work = Work(frame, done, ages)
        if self.collect is None or not self.collect(work, triggered):
            self.put(work, triggered=triggered)

    def put(self, work: Work, *, triggered: bool) -> None:
        """Behind what waits; a streamed frame in the place of an older one of its camera."""
        if triggered:
            self.mailbox.put_triggered(work)
        else:
            self._give_up(self.mailbox.put_latest(work))

    def _say(self, camera: str, doubt: str) -> None:
        """Of a camera's last picture, why its verdict is `unsure`; no doubt takes it back."""
        if doubt:
            self._station.set(f"picture of {camera}", f"what {camera} saw last is `unsure`: {doubt}")
        else:
            self._station.clear(f"picture of {camera}")

    def _give_up(self, work: Work | None) -> None:
        if work is not None:
            self._counters.add("frames_dropped", camera=work.frame.camera)
            work.done()

    def _run(self) -> None:
        idle = partial(self._pulse.beat, "pipeline")
        idle()
        while (work := self.mailbox.get(idle)) is not None:
            self._pulse.begin("pipeline")
            self._process(work)
            self._pulse.end("pipeline")

    def _process(self, work: Work) -> None:
        """The daemon's boundary for a frame: whatever happens in it, the next frame is looked at."""
        look = self.look
        try:
            if isinstance(work.frame, Part):
                self._take_part(work.frame, look)
            else:
                self._take(work, look)
        except RequestCancelled:
            return  # the station is stopping: not acknowledged, so the broker sends it again
        except (RequestError, EngineError) as error:
            self._answers.reject(work.frame, error.code, str(error))
        except Exception as error:  # one of the two boundaries: counted, logged, reported
            log.exception("a frame of %s failed", work.frame.camera)
            self._answers.reject(work.frame, "internal", f"unexpected: {error!r}")
        work.done()

    def _take(self, work: Work, look: Look) -> None:
        decoding = Timings()
        started = time.monotonic()
        born = work.frame.received if work.ages else started
        age_s = started - born
        if age_s > look.settings.max_age_s:
            self._give_up(work.before)  # which is older still
            raise RequestError("too_old", f"{age_s:.1f} s old; `inspect.max_age_s` is {look.settings.max_age_s:g}")
        try:
            with stopwatch(decoding, "preprocess"):
                picture = upright_frame(work.frame, look.preparation(work.frame.camera), look.settings.max_pixels)
        except PictureError:
            if work.before is not None:
                self._process(work.before)
            raise
        self._give_up(work.before)
        self._inspect(work, look, born, picture, started, decoding)

    def _inspect(
        self, work: Work, look: Look, born: float, picture: Picture, started: float, decoding: Timings
    ) -> None:
        kept = self._look_at(work.frame, look, born, picture, started, decoding)
        frame, inspection, result = kept.frame, kept.inspection, kept.result
        self.deliver(frame, result)
        self._count(result)
        self._show(kept)
        self._history.keep(frame, picture, inspection, result, kept.inspector)
        for observer in self.observers:
            observer(Seen(frame, picture, inspection, result))

    def _look_at(
        self, frame: Frame, look: Look, born: float, picture: Picture, started: float, decoding: Timings
    ) -> Kept:
        inspector = look.inspector(frame.camera)
        bundle = there(look.engine).bundle
        deadline = born + look.settings.deadline_s if look.settings.deadline_s else None
        request = Request(Priority.FRAME, deadline, self._stopping.is_set)
        inspection = inspector.inspect(picture, request, max_side=frame.max_side)
        if inspection.finish_reason == "cancelled":
            raise RequestCancelled("the station is stopping")
        inspection.timings.preprocess_ms += decoding.preprocess_ms
        clock = Clock((started - frame.received) * 1e3, (time.monotonic() - frame.received) * 1e3)
        result = to_result(frame, inspection, inspector, wire_model(bundle), clock, look.settings.max_age_s)
        return Kept(frame, picture, inspection, result, inspector)

    def _show(self, kept: Kept) -> None:
        """To people, and to those who watch over pictures and models."""
        camera, inspection = kept.frame.camera, kept.inspection
        silent = inspection.gate is not None or kept.inspector.not_taught
        self._say(camera, "" if silent else inspection.doubt)
        self._last.show(kept.frame, kept.picture, inspection, kept.result)
        self._drift_watch.see(camera, kept.inspector.task.preparation.part(kept.picture), inspection)
        if (shadow := self.shadow) is not None:
            shadow(camera, kept.picture, kept.result.verdict)

    def _take_part(self, part: Part, look: Look) -> None:
        """A part of a trigger always has a result, however late: what cannot be looked at is missing in it."""
        begun = time.monotonic()
        seen: list[Kept] = []
        missing = list(part.missing)
        for frame in part.views:
            found = self._view(replace(frame, id=request_id("view", part.id, frame.camera)[:32]), look)
            (missing if isinstance(found, WireMissing) else seen).append(found)  # type: ignore[arg-type]
        views = [kept.result for kept in seen]
        model = wire_model(look.engine if isinstance(look.engine, NoModel) else look.engine.bundle)
        evidence = [self._history.evidence_name(view) for view in views]
        clock = (begun, time.monotonic())
        result = combined(part, views, missing, model, evidence, clock, look.settings.max_age_s)
        self.deliver(part, result)
        self._count(result)
        for kept in seen:
            self._counters.add("views", camera=kept.result.camera, verdict=kept.result.verdict)
            self._show(kept)
        self._last.show_part(part, [(kept.picture, kept.inspection) for kept in seen], result)
        self._history.keep_part(result, seen)
        for one in missing:
            self._counters.add("views_missing", camera=one.camera, reason=one.code)
            if self.missed is not None:
                self.missed(part, one)
        told = tuple(Seen(kept.frame, kept.picture, kept.inspection, kept.result) for kept in seen)
        if told:
            shown = told[views.index(worst(views))]
            picture, inspection = shown.picture, shown.inspection
        else:
            picture = beside([absent(one.camera) for one in missing])
            inspection = nothing_shown(result.doubt or "")
        for observer in self.observers:
            observer(Seen(part, picture, inspection, result, told))

    def _view(self, frame: Frame, look: Look) -> Kept | WireMissing:
        """The boundary for one view of a part: whatever happens in it, the others are looked at."""
        decoding, started = Timings(), time.monotonic()
        try:
            self._switches.check(frame.camera)
            with stopwatch(decoding, "preprocess"):
                picture = upright_frame(frame, look.preparation(frame.camera), look.settings.max_pixels)
            return self._look_at(frame, look, frame.received, picture, started, decoding)
        except RequestCancelled:
            raise
        except (RequestError, EngineError) as error:
            return WireMissing(camera=frame.camera, code=error.code, reason=str(error))
        except Exception as error:  # part of the frame boundary: counted, logged, reported
            log.exception("a view of %s failed", frame.camera)
            return WireMissing(camera=frame.camera, code="internal", reason=f"unexpected: {error!r}")

    def _count(self, result: InspectionResult) -> None:
        self._counters.add("results", camera=result.camera, verdict=result.verdict, decided_by=result.decided_by)
        self._counters.add(f"results_{result.verdict}")
        if result.finish_reason is not None:
            self._counters.add("results_incomplete", reason=result.finish_reason)
        if result.decided_by == "gate":
            self._counters.add("results_by_gate")
        for stage, value_ms in result.timing_ms:
            if value_ms is not None:
                self._counters.observe("frame", value_ms, stage=stage)
