"""Frames that arrive over MQTT: a picture as it is, or JSON that refers to a file on the station."""

from __future__ import annotations

import logging
import queue
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.reference import read_captured_at, read_referenced
from lineside.edge.wire.messages import FrameReference
from lineside.edge.wire.mqtt import Message

log = logging.getLogger("lineside.frames")
WAITING = 64


class FrameIntake:
    """Decodes incoming frames on a thread of its own: a picture takes too long for the network thread.

    Args:
        cameras: names that the station file declares; a frame for another one is rejected.
        folder: where references are looked up; nothing outside it can be named.
        max_bytes: of a payload, or of a file that one refers to.
    """

    def __init__(self, cameras: set[str], folder: Path, max_bytes: int, pipeline: Pipeline, counters: Counters) -> None:
        self._max_bytes = max_bytes
        self._cameras, self._folder = cameras, folder.resolve()
        self._pipeline, self._counters = pipeline, counters
        self._queue: queue.Queue[tuple[str, Message] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._queue.put(None)
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
        if not message.qos and self._queue.qsize() >= WAITING:  # of those with QoS 1 the connection bounds the number
            self._pipeline.reject(Frame(camera), "busy", "frames arrive faster than they can be decoded")
            return
        self._queue.put((camera, message))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            camera, message = item
            try:
                self._handle(camera, message)
            except Exception as error:  # part of the frame boundary: counted, logged, reported
                log.exception("a frame for %s could not be taken in", camera)
                frame = Frame(camera, part_id=message.user.get("part_id", ""))
                self._pipeline.reject(frame, "internal", f"unexpected: {error!r}")
                message.acknowledge()

    def _handle(self, camera: str, message: Message) -> None:
        part_id = message.user.get("part_id", "")
        try:
            if camera not in self._cameras:
                raise RequestError("unknown_camera", f"{camera!r} is not in the station file's [cameras]")
            captured_at = _captured_at(message)
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
        stamped = "captured_at" in message.user
        age_s = max((datetime.now(UTC) - captured_at).total_seconds(), 0.0) if stamped else 0.0
        frame = Frame(
            camera,
            data=data,
            captured_at=captured_at,
            received=time.monotonic() - age_s,
            name=name,
            part_id=part_id,
        )
        triggered = message.qos > 0
        self._pipeline.offer(frame, triggered=triggered, done=message.acknowledge, ages=stamped or not triggered)


def _parse_reference(payload: bytes) -> FrameReference:
    try:
        return FrameReference.model_validate_json(payload)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError("malformed", f"not a frame reference: {problems}") from None


def _captured_at(message: Message) -> datetime:
    """From the user property, else now. Raises RequestError."""
    stamp = message.user.get("captured_at")
    return datetime.now(UTC) if stamp is None else read_captured_at(stamp)
