"""Frames that arrive over MQTT: a picture as it is, or JSON that refers to a file on the station."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError
from lineside.edge.frames.arrivals import Arrivals
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.reference import read_captured_at, read_referenced
from lineside.edge.wire.messages import FrameReference
from lineside.edge.wire.mqtt import Message

log = logging.getLogger("lineside.frames")
WAITING = 64


@dataclass(frozen=True)
class Arrival:
    """A message with its time of arrival, `received` on `time.monotonic()`'s clock."""

    message: Message
    at: datetime
    received: float


class FrameIntake:
    """Takes in frames on a thread of its own: a picture takes too long for the network thread.

    Args:
        cameras: names that the station file declares; a frame for another one is rejected.
        folder: where references are looked up; nothing outside it can be named.
        max_bytes: of a payload, or of a file that one refers to.
    """

    def __init__(self, cameras: set[str], folder: Path, max_bytes: int, pipeline: Pipeline, counters: Counters) -> None:
        self._max_bytes = max_bytes
        self._cameras, self._folder = cameras, folder.resolve()
        self._pipeline, self._counters = pipeline, counters
        self._arrivals: Arrivals[tuple[str, Arrival]] = Arrivals()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._arrivals.close()
        self._thread.join(timeout=5)

    def accept(self, camera: str, message: Message) -> None:
        """On the network thread. A retained frame is stale and ignored."""
        if message.retain:
            self._counters.add("frames_ignored_retained")
            message.acknowledge()
            return
        if len(message.payload) > self._max_bytes:
            limit = f"{len(message.payload)} bytes; `store.max_payload_bytes` is {self._max_bytes}"
            self._counters.add("frames_received")
            self._pipeline.reject(Frame(camera), "too_large", limit)
            message.acknowledge()
            return
        if message.qos and len(self._arrivals) >= WAITING:
            self._pipeline.reject(Frame(camera), "busy", "frames arrive faster than they can be taken in")
            message.acknowledge()
            return
        arrival = Arrival(message, datetime.now(UTC), time.monotonic())
        # A camera that is not declared has no slot of its own: whoever makes names up fills one, not the memory.
        slot = camera if camera in self._cameras else ""
        if self._arrivals.put(slot, (camera, arrival), streamed=not message.qos) is not None:
            self._counters.add("frames_received")
            self._counters.add("frames_dropped")

    def _run(self) -> None:
        while (item := self._arrivals.get()) is not None:
            camera, arrival = item
            message = arrival.message
            try:
                self._handle(camera, arrival)
            except Exception as error:  # part of the frame boundary: counted, logged, reported
                log.exception("a frame for %s could not be taken in", camera)
                frame = Frame(camera, part_id=message.user.get("part_id", ""))
                self._pipeline.reject(frame, "internal", f"unexpected: {error!r}")
                message.acknowledge()

    def _handle(self, camera: str, arrival: Arrival) -> None:
        message = arrival.message
        part_id = message.user.get("part_id", "")
        try:
            if camera not in self._cameras:
                raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras]")
            captured_at = _captured_at(arrival)
            data, name = message.payload, message.user.get("name", "")
            if message.payload[:1] == b"{":
                reference = _parse_reference(message.payload)
                part_id, name = reference.part_id or part_id, Path(reference.path).name
                data = read_referenced(self._folder, reference, self._max_bytes)
        except RequestError as error:
            self._counters.add("frames_received")
            self._pipeline.reject(Frame(camera, part_id=part_id), error.code, str(error))
            message.acknowledge()
            return
        frame = Frame(camera, data, None, captured_at, arrival.received, name, part_id)
        self._pipeline.offer(frame, triggered=message.qos > 0, done=message.acknowledge)


def _parse_reference(payload: bytes) -> FrameReference:
    try:
        return FrameReference.model_validate_json(payload)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError("malformed", f"not a frame reference: {problems}") from None


def _captured_at(arrival: Arrival) -> datetime:
    """From the user property, else its arrival. Raises RequestError."""
    stamp = arrival.message.user.get("captured_at")
    return arrival.at if stamp is None else read_captured_at(stamp)
