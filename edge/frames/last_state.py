"""What each camera saw last: state and snapshot on the broker, retained."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.errors import BrokerError, NotConnected, QueueFull
from lineside.edge.frames.part import Part
from lineside.edge.inspection.evidence import absent, beside, draw, encode_jpeg
from lineside.edge.wire.messages import InspectionResult, State, new_id, now
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import ClosedOver, Ending
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.observation import Inspection

log = logging.getLogger("lineside.last_state")
CLOSED_OVER_LIMIT = 2
SHOWN_EVERY_S = 0.2
"""Drawing and encoding a picture takes longer than all else that the daemon does with a frame."""


@dataclass(frozen=True)
class _Seen:
    """`views` are the pictures that were looked at: one, or those of a part."""

    frame: Frame
    views: Sequence[tuple[Picture, Inspection]]
    result: InspectionResult


class LastState:
    """Conveniences for people and dashboards: a failure is counted, and does not touch the result.

    Drawn on a thread of its own, of each camera the newest.
    """

    def __init__(self, topics: Topics, connection: Connection, counters: Counters) -> None:
        self._topics, self._connection, self._counters = topics, connection, counters
        self._states: dict[str, State] = {}
        self._pictures: dict[str, bytes] = {}
        self._stale: set[str] = set()
        self._lock = threading.Lock()
        self._unacknowledged: set[str] = set()
        self._changed: set[str] = set()
        self._closed_over, self._largest = ClosedOver(), 1 << 28
        self._seen: dict[str, _Seen] = {}
        self._new, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="last-state", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What was seen last is still shown."""
        self._closed.set()
        self._new.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def show(self, frame: Frame, picture: Picture, inspection: Inspection, result: InspectionResult) -> None:
        """Publish what came out of a frame, with its boxes drawn."""
        self._put(_Seen(frame, [(picture, inspection)], result))

    def show_part(self, part: Part, views: Sequence[tuple[Picture, Inspection]], result: InspectionResult) -> None:
        """Publish what came out of a part, under its trigger's name: its pictures beside each other."""
        self._put(_Seen(part, views, result))

    def _put(self, seen: _Seen) -> None:
        with self._lock:
            self._seen[seen.frame.camera] = seen
        self._new.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._new.wait()
            self._new.clear()
            with self._lock:
                seen, self._seen = self._seen, {}
            for last in seen.values():
                self._draw(last)
            self._closed.wait(SHOWN_EVERY_S)
        for last in self._seen.values():
            self._draw(last)

    def _draw(self, seen: _Seen) -> None:
        frame, result = seen.frame, seen.result
        try:
            panels = [draw(picture, inspection) for picture, inspection in seen.views]
            panels += [absent(one.camera) for one in result.missing or ()]
            drawn = encode_jpeg(beside(panels))
            with self._lock:
                self._states[frame.camera] = State(
                    stale=frame.camera in self._stale,
                    verdict=result.verdict,
                    confidence=result.confidence,
                    result_id=result.id,
                )
                self._pictures[frame.camera] = drawn
            self._publish(frame.camera)
        except (ValueError, BrokerError, cv2.error) as error:
            self._counters.add("snapshots_failed")
            log.error("no snapshot of %s: %s", frame.name, error)

    def of(self, camera: str) -> State:
        """What was published last; empty before the first frame."""
        with self._lock:
            return self._states.get(camera, State())

    def picture(self, camera: str) -> bytes:
        """The newest frame with its boxes, JPEG; empty before the first."""
        with self._lock:
            return self._pictures.get(camera, b"")

    def show_picture(self, camera: str, picture: Picture) -> None:
        """Publish a frame that was not inspected, as it is: the next inspected one takes its place."""
        try:
            if self._connection.connected.is_set():
                self._publish_snapshot(camera, encode_jpeg(picture))
        except (ValueError, BrokerError, cv2.error) as error:
            self._counters.add("snapshots_failed")
            log.warning("no snapshot of %s: %s", camera, error)

    def set_stale(self, camera: str, *, stale: bool) -> bool:
        """Say of the last verdict that the camera gives no pictures any more, or that it does again. False where that
        could not be published: try again.
        """
        with self._lock:
            (self._stale.add if stale else self._stale.discard)(camera)
            state = self._states.get(camera, State())
            self._states[camera] = state.model_copy(update={"stale": stale, "id": new_id(), "ts": now()})
        try:
            self._publish(camera)
        except BrokerError as error:
            log.warning("no state of %s: %s", camera, error)
            return False
        return True

    def announce(self) -> None:
        """After a reconnect: what changed meanwhile is retained anew."""
        for camera in list(self._states):
            self._publish(camera)

    def _publish(self, camera: str) -> None:
        """State and picture, one unacknowledged state a camera: an outage must not fill the queue with old ones."""
        if not self._connection.connected.is_set():
            return
        with self._lock:
            if camera in self._unacknowledged:
                self._changed.add(camera)
                return
            self._unacknowledged.add(camera)
            state, picture = self._states[camera].encode(), self._pictures.get(camera, b"")
        topic, blamed = self._topics.state(camera), len(picture) if len(picture) <= self._largest else 0
        try:
            if blamed:
                self._publish_snapshot(camera, picture)
            self._connection.publish(topic, state, retain=True, ended=partial(self._ended, camera, blamed))
        except BrokerError as error:
            again = isinstance(error, QueueFull | NotConnected)
            with self._lock:
                self._unacknowledged.discard(camera)
                if again:
                    self._changed.add(camera)
            if not again:
                raise

    def _publish_snapshot(self, camera: str, picture: bytes) -> None:
        try:
            topic = self._topics.snapshot(camera)
            self._connection.publish(topic, picture, qos=0, retain=True, content_type="image/jpeg")
        except (QueueFull, NotConnected):
            raise
        except BrokerError as error:
            self._counters.add("snapshots_failed")
            log.warning("no snapshot: %s", error)

    def _ended(self, camera: str, snapshot_bytes: int, ending: Ending) -> None:
        """The broker takes in one message after the other: what becomes of a state tells about the snapshot before it.

        Where it closes the connection twice, no snapshot of that size is sent any more.
        """
        with self._lock:
            self._unacknowledged.discard(camera)
            if ending.kind == "lost":  # it is announced after the reconnect
                if ending.suspicious and ending.proved and snapshot_bytes:
                    self._blame(snapshot_bytes, ending)
                return
            if ending.kind == "acknowledged" and snapshot_bytes:
                self._closed_over.forget()
            changed = self._changed.pop() if self._changed else None
        if ending.kind == "refused":
            self._counters.add("states_refused")
        if changed is not None:
            self._publish(changed)

    def _blame(self, size: int, ending: Ending) -> None:
        if self._closed_over.add(ending) >= CLOSED_OVER_LIMIT:
            self._closed_over.forget()
            self._largest = min(self._largest, size - 1)
            self._counters.add("snapshots_failed")
            log.error("the broker closes the connection over snapshots of %d bytes: no more of that size", size)
