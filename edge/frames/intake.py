"""Frames that arrive over MQTT: a picture as it is, or JSON that refers to a file on the station."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError
from lineside.edge.frames.answers import Answers
from lineside.edge.frames.arrivals import Arrivals
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.switches import Switches
from lineside.edge.steady import moment_of
from lineside.edge.wire.identity import request_id, without_mark
from lineside.edge.wire.messages import FrameReference
from lineside.edge.wire.reference import read_captured_at, read_max_side, read_referenced
from lineside.edge.wire.traffic import Message

log = logging.getLogger("lineside.frames")


@dataclass(frozen=True)
class _Arrived:
    """A frame on its way to the pipeline. Where there is a `reference` it has no data yet."""

    frame: Frame
    reference: FrameReference | None
    triggered: bool
    ages: bool


class FrameIntake:
    """Takes frames off the network thread. What a reference names is read on a thread of its own.

    Args:
        cameras: names that the station file declares; a frame for another one is rejected.
        folder: where references are looked up; nothing outside it can be named.
        max_bytes: of a payload, or of a file that one refers to.
    """

    def __init__(
        self,
        cameras: set[str],
        folder: Path,
        max_bytes: int,
        pipeline: Pipeline,
        answers: Answers,
        counters: Counters,
        switches: Switches | None = None,
    ) -> None:
        self._switches = switches or Switches({})
        self._max_bytes = max_bytes
        self._cameras, self._folder = cameras, folder.resolve()
        self._pipeline, self._answers, self._counters = pipeline, answers, counters
        self._arrivals: Arrivals[_Arrived] = Arrivals()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)

    def exchange(self, cameras: set[str]) -> None:
        """Take frames for these from now on."""
        self._cameras = cameras

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._arrivals.close()
        self._thread.join(timeout=5)

    def accept(self, camera: str, message: Message, *, shared: bool = False) -> None:
        """On the network thread. A retained frame is stale and ignored; one that waits or was answered is not taken.

        The id of one that came to the group (`shared`) follows from what was sent: another member that is given it
        makes the same.
        """
        if message.retain:
            self._counters.add("frames_ignored_retained")
            message.acknowledge()
            return
        frame, reference, problem = self._read(camera, message)
        delivered = self._answers.delivered(message)
        if delivered is not None:
            if not (frame.part_id or "captured_at" in message.user):
                frame = replace(frame, id=(_shared_id(message) if shared else delivered.id)[:32])
            if not self._answers.take(frame, delivered, message.acknowledge):
                return
        if problem is not None:
            self._refuse(frame, problem.code, str(problem))
            return
        stamped = "captured_at" in message.user
        if stamped:
            frame = replace(frame, received=moment_of(frame.captured_at.timestamp()), stamped=True)
        elif message.delivery is not None and message.delivery.dup:
            frame = replace(frame, moment_known=False)
        arrived = _Arrived(frame, reference, triggered=message.qos > 0, ages=stamped or not message.qos)
        if self._arrivals.put(camera, arrived, streamed=not message.qos) is not None:
            self._counters.add("frames_received")
            self._counters.add("frames_dropped", camera=camera)

    def _read(self, camera: str, message: Message) -> tuple[Frame, FrameReference | None, RequestError | None]:
        """The frame, what it refers to, and why it is refused, as far as the message itself tells."""
        part_id, name, captured_at = message.user.get("part_id", ""), message.user.get("name", ""), datetime.now(UTC)
        data, reference, problem, max_side = message.payload, None, None, 0
        try:
            if camera not in self._cameras:
                raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras]")
            if not self._switches.camera_on(camera):
                self._switches.check(camera)
            if len(data) > self._max_bytes:
                raise RequestError("too_large", f"{len(data)} bytes; `store.max_payload_bytes` is {self._max_bytes}")
            captured_at = (
                read_captured_at(message.user["captured_at"]) if "captured_at" in message.user else captured_at
            )
            max_side = read_max_side(message.user["max_side"]) if "max_side" in message.user else 0
            if without_mark(data)[:1] == b"{":
                reference = _parse_reference(without_mark(data))
                part_id, name = reference.part_id or part_id, Path(reference.path).name
                max_side = reference.max_side or max_side
        except RequestError as error:
            problem = error
        frame = Frame(camera, captured_at=captured_at, name=name, part_id=part_id, max_side=max_side)
        if part_id or "captured_at" in message.user:
            sha256 = hashlib.sha256(data).hexdigest() if reference is None else reference.sha256
            marks = [camera, part_id, message.user.get("captured_at", ""), name, sha256]
            marks += [str(max_side)] if max_side else []
            frame = replace(frame, id=request_id("frame", *marks)[:32], sha256=sha256)
        return (frame if reference or problem else replace(frame, data=data)), reference, problem

    def _refuse(self, frame: Frame, code: str, message: str) -> None:
        self._counters.add("frames_received")
        self._answers.reject(frame, code, message)
        self._answers.done(frame)

    def _run(self) -> None:
        while (arrived := self._arrivals.get()) is not None:
            try:
                self._handle(arrived)
            except RequestError as error:
                self._refuse(arrived.frame, error.code, str(error))
            except Exception as error:  # part of the frame boundary: counted, logged, reported
                log.exception("a frame for %s could not be taken in", arrived.frame.camera)
                self._refuse(arrived.frame, "internal", f"unexpected: {error!r}")

    def _handle(self, arrived: _Arrived) -> None:
        frame = arrived.frame
        if arrived.reference is not None:
            frame = replace(frame, data=read_referenced(self._folder, arrived.reference, self._max_bytes))
        done = partial(self._answers.done, frame)
        self._pipeline.offer(frame, triggered=arrived.triggered, done=done, ages=arrived.ages)


def _shared_id(message: Message) -> str:
    user = (part for pair in sorted(message.user.items()) for part in pair)
    return request_id("group", message.topic, message.correlation or b"", message.payload, *user)


def _parse_reference(payload: bytes) -> FrameReference:
    try:
        return FrameReference.model_validate_json(payload)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError("malformed", f"not a frame reference: {problems}") from None
