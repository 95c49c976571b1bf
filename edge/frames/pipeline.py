"""Frames: from the mailbox through the engine to result, state and evidence."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.errors import BrokerError, ConfigError, RequestError
from lineside.edge.frames.mailbox import Mailbox, Work
from lineside.edge.inspection.evidence import draw, encode_jpeg
from lineside.edge.inspection.inspectors import open_inspectors
from lineside.edge.wire.messages import (
    JSON_TYPE,
    Event,
    InspectionResult,
    State,
    WireDefect,
    WireError,
    WireGate,
    WireModel,
    WireTimings,
    now,
)
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics
from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import EngineError, RequestCancelled
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.picture import decode_picture

log = logging.getLogger("lineside.pipeline")


class Pipeline:
    """One worker thread that inspects what the mailbox holds."""

    def __init__(
        self,
        config: Config,
        topics: Topics,
        engine: Engine,
        outbox: Outbox,
        connection: Connection,
        counters: Counters,
    ) -> None:
        self._settings, self._topics, self._counters = config.inspect, topics, counters
        self._outbox, self._connection = outbox, connection
        self._evidence = _evidence_folder(config)
        self._inspectors, self.degraded = open_inspectors(config, engine)
        self._model = WireModel(name=engine.bundle.manifest.name, sha256=engine.bundle.sha256)
        self._latest: dict[str, tuple[bytes, bytes]] = {}
        self._lock = threading.Lock()
        self._unacknowledged: set[str] = set()
        self._stale: set[str] = set()
        self.mailbox = Mailbox()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self.mailbox.close()
        self._thread.join(timeout=5)

    def offer(self, frame: Frame, *, triggered: bool, done: Callable[[], None] = lambda: None) -> None:
        """Hand in a frame. A bad one is rejected here and now, so that it cannot push a good one out."""
        self._counters.add("frames_received")
        try:
            if frame.pixels is None:
                picture = decode_picture(frame.data or b"", self._settings.max_pixels)
                frame = dataclasses.replace(frame, pixels=picture)
        except EngineError as error:
            self.reject(frame, error.code, str(error))
            done()
            return
        if triggered and frame.data is not None:
            frame = dataclasses.replace(frame, pixels=None)  # what waits in the queue waits compressed
        work = Work(frame, done)
        if not triggered:
            if self.mailbox.put_latest(work):
                self._counters.add("frames_dropped")
        elif not self.mailbox.put_triggered(work):
            self.reject(frame, "busy", "too many triggered frames are waiting: slow down or use QoS 0")
            done()

    def reject(self, frame: Frame, code: str, message: str) -> None:
        """Count the frame and say on the camera's event topic why it has no result."""
        self._counters.add("frames_rejected")
        log.warning("%s %s rejected: %s", frame.camera, frame.name, message)
        event = Event(
            event_type="frame_rejected",
            camera=frame.camera,
            name=frame.name,
            part_id=frame.part_id,
            error=WireError(code=code, message=message),
        )
        self._outbox.put(Outgoing(self._topics.event(frame.camera), event.encode(), JSON_TYPE))

    def _run(self) -> None:
        while (work := self.mailbox.get()) is not None:
            self._process(work)

    def _process(self, work: Work) -> None:
        """The daemon's boundary for a frame: whatever happens in it, the next frame is looked at."""
        try:
            self._inspect(work.frame)
        except RequestCancelled:
            return  # the station is stopping: not acknowledged, so the broker sends it again
        except RequestError as error:
            self.reject(work.frame, error.code, str(error))
        except EngineError as error:
            self.reject(work.frame, error.code, str(error))
        except Exception as error:  # one of the two boundaries: counted, logged, reported
            log.exception("a frame of %s failed", work.frame.camera)
            self.reject(work.frame, "internal", f"unexpected: {error!r}")
        work.done()

    def _inspect(self, frame: Frame) -> None:
        picture = frame.pixels
        if picture is None:
            picture = decode_picture(frame.data or b"", self._settings.max_pixels)
        age_s = time.monotonic() - frame.received
        if age_s > self._settings.max_age_s:
            raise RequestError("too_old", f"{age_s:.1f} s old; `inspect.max_age_s` is {self._settings.max_age_s:g}")
        deadline = frame.received + self._settings.deadline_s if self._settings.deadline_s else None
        request = Request(Priority.FRAME, deadline, self._stopping.is_set)
        inspection = self._inspectors[frame.camera].inspect(picture, request)
        if inspection.finish_reason == "cancelled":
            raise RequestCancelled("the station is stopping")
        total_ms = (time.monotonic() - frame.received) * 1e3
        result = self._result(frame, inspection, age_s * 1e3, total_ms)
        self._outbox.put(Outgoing(self._topics.result(frame.camera), result.encode(), JSON_TYPE))
        self._counters.add("results")
        self._counters.add(f"results_{inspection.verdict}")
        if inspection.decided_by == "gate":
            self._counters.add("results_by_gate")
        try:
            self._show(frame, picture, inspection, result)
        except (OSError, ValueError, BrokerError, cv2.error) as error:
            self._counters.add("evidence_errors")
            log.error("no evidence picture of %s: %s", frame.name, error)

    def _result(self, frame: Frame, inspection: Inspection, queue_ms: float, total_ms: float) -> InspectionResult:
        t = inspection.timings
        stages = {
            "queue": queue_ms + t.queue_ms,
            "gate": t.gate_ms,
            "preprocess": t.preprocess_ms,
            "vision": t.vision_ms,
            "prefill": t.prefill_ms,
            "decode": t.decode_ms,
            "total": total_ms,
        }
        content = frame.data if frame.data is not None else frame.pixels.tobytes() if frame.pixels is not None else b""
        return InspectionResult(
            camera=frame.camera,
            name=frame.name,
            part_id=frame.part_id,
            captured_at=frame.captured_at,
            verdict=inspection.verdict,
            confidence=round(inspection.confidence, 4),
            fail_probability=round(inspection.fail_probability, 4),
            calibrated=self._inspectors[frame.camera].calibration is not None and inspection.decided_by == "model",
            defects=[WireDefect(type=defect.type, box=defect.box) for defect in inspection.defects],
            complete=inspection.complete,
            finish_reason=inspection.finish_reason if not inspection.complete else None,
            model=self._model,
            timing_ms=WireTimings(**{name: round(value, 2) for name, value in stages.items()}),
            frame_sha256=hashlib.sha256(content).hexdigest(),
            **({"report": inspection.report} if self._reports(frame.camera) and inspection.complete else {}),
            decided_by=inspection.decided_by,
            gate=self._wire_gate(frame.camera, inspection),
            late=True if (now() - frame.captured_at).total_seconds() > self._settings.max_age_s else None,
        )

    def _wire_gate(self, camera: str, inspection: Inspection) -> WireGate | None:
        inspector = self._inspectors[camera]
        if inspection.gate is None or not isinstance(inspector, GatedInspector):
            return None
        memory, seen = inspector.gate.memory, inspection.gate
        scores = (seen.score, memory.pass_below, memory.fail_above)
        score, low, high = (round(value, 4) for value in scores)
        return WireGate(score=score, pass_below=low, fail_above=high, region=seen.region)

    def _reports(self, camera: str) -> bool:
        return self._inspectors[camera].task.report is not None

    def _show(self, frame: Frame, picture: Picture, inspection: Inspection, result: InspectionResult) -> None:
        """State and evidence picture. They are conveniences: a failure is counted and does not touch the result."""
        state = State(verdict=result.verdict, confidence=result.confidence, result_id=result.id)
        data = encode_jpeg(draw(picture, inspection))
        self._latest[frame.camera] = (state.encode(), data)
        self._publish_latest(frame.camera)
        if self._evidence is not None:
            (self._evidence / _evidence_name(frame, result)).write_bytes(data)

    def announce(self) -> None:
        """After a reconnect: what changed meanwhile is retained anew."""
        for camera in list(self._latest):
            self._publish_latest(camera)

    def _publish_latest(self, camera: str) -> None:
        """State and picture, one unacknowledged state a camera: an outage must not fill the queue with old ones."""
        if not self._connection.connected.is_set():
            return
        with self._lock:
            if camera in self._unacknowledged:
                self._stale.add(camera)
                return
            self._unacknowledged.add(camera)
        state, picture = self._latest[camera]
        try:
            self._connection.publish(
                self._topics.state(camera), state, retain=True, delivered=lambda: self._state_delivered(camera)
            )
        except BrokerError:
            self._unacknowledged.discard(camera)
            raise
        try:
            topic = self._topics.snapshot(camera)
            self._connection.publish(topic, picture, qos=0, retain=True, content_type="image/jpeg")
        except BrokerError as error:
            self._counters.add("snapshots_failed")
            log.warning("no snapshot: %s", error)

    def _state_delivered(self, camera: str) -> None:
        with self._lock:
            self._unacknowledged.discard(camera)
            stale = camera in self._stale
            self._stale.discard(camera)
        if stale:
            self._publish_latest(camera)


def _evidence_folder(config: Config) -> Path | None:
    """Raises ConfigError where the folder cannot be made."""
    if not config.inspect.evidence_folder:
        return None
    folder = config.resolve(config.inspect.evidence_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"`inspect.evidence_folder`: {folder} cannot be made ({error.strerror})") from error
    return folder


def _evidence_name(frame: Frame, result: InspectionResult) -> Path:
    stem = Path(frame.name).stem or result.id
    return Path(f"{frame.camera}_{stem}_{result.verdict}.jpg")
