"""The worker of the frames: from the mailbox through the engine to the outbox."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
from lineside.edge.frames.part_ids import PartIds
from lineside.edge.frames.results import Clock, to_result
from lineside.edge.frames.seen import Seen
from lineside.edge.frames.switches import Switches
from lineside.edge.history.keeper import History
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.inspection.preparing import upright_frame
from lineside.edge.inspection.watched import WatchedFor, open_watched
from lineside.edge.models import NoModel, there, wire_model
from lineside.edge.pulse import Pulse
from lineside.edge.wire.messages import InspectionResult, Verdict
from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError, PictureError, RequestCancelled
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
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
        if self.newest is not None:
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
        while (work := self.mailbox.get()) is not None:
            self._pulse.begin("pipeline")
            self._process(work)
            self._pulse.end("pipeline")

    def _process(self, work: Work) -> None:
        """The daemon's boundary for a frame: whatever happens in it, the next frame is looked at."""
        look = self.look
        try:
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
        frame, inspector = work.frame, look.inspector(work.frame.camera)
        bundle = there(look.engine).bundle
        deadline = born + look.settings.deadline_s if look.settings.deadline_s else None
        request = Request(Priority.FRAME, deadline, self._stopping.is_set)
        inspection = inspector.inspect(picture, request, max_side=frame.max_side)
        if inspection.finish_reason == "cancelled":
            raise RequestCancelled("the station is stopping")
        inspection.timings.preprocess_ms += decoding.preprocess_ms
        clock = Clock((started - frame.received) * 1e3, (time.monotonic() - frame.received) * 1e3)
        result = to_result(frame, inspection, inspector, wire_model(bundle), clock, look.settings.max_age_s)
        self.deliver(frame, result)
        self._count(result)
        if inspection.decided_by == "gate":
            self._counters.add("results_by_gate")
        self._say(frame.camera, inspection.doubt if inspection.gate is None and not inspector.not_taught else "")
        self._last.show(frame, picture, inspection, result)
        self._history.keep(frame, picture, inspection, result, inspector)
        self._drift_watch.see(frame.camera, inspector.task.preparation.part(picture), inspection)
        for observer in self.observers:
            observer(Seen(frame, picture, inspection, result))
        if (shadow := self.shadow) is not None:
            shadow(frame.camera, picture, result.verdict)

    def _count(self, result: InspectionResult) -> None:
        self._counters.add("results", camera=result.camera, verdict=result.verdict, decided_by=result.decided_by)
        self._counters.add(f"results_{result.verdict}")
        if result.finish_reason is not None:
            self._counters.add("results_incomplete", reason=result.finish_reason)
        for stage, value_ms in result.timing_ms:
            self._counters.observe("frame", value_ms, stage=stage)
