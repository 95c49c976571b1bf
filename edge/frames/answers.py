"""Each frame that comes over MQTT is answered once, however often it is delivered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.errors import StoreError
from lineside.edge.frames.part import Part
from lineside.edge.frames.rejections import Rejections
from lineside.edge.wire.identity import Delivery, Use, delivered_id, next_use, request_id
from lineside.edge.wire.messages import JSON_TYPE, Event, InspectionResult, WireError
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.remembered import FrameAnswer, Remembered
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import Message
from lineside.edge.wire.trigger_store import PartAnswer

log = logging.getLogger("lineside.frames")


@dataclass(frozen=True)
class Delivered:
    """One QoS 1 frame as it was delivered; `id` is the same for each delivery of one sending."""

    delivery: Delivery
    use: Use

    @property
    def id(self) -> str:
        return delivered_id(self.delivery, self.use)


@dataclass
class _Waiting:
    """A frame that was taken and has no answer yet, with each delivery of it and how that is acknowledged."""

    deliveries: list[tuple[Delivered, Callable[[], None]]]


class Answers:
    """Knows the QoS 1 frames that wait and those that were answered, and puts every answer into the outbox.

    What nobody delivers again, frames of QoS 0 and of the station's own cameras, passes through.

    Attributes:
        rejected: are told of each frame that has no verdict, once that is on disk; they return at once.
    """

    def __init__(self, topics: Topics, store: Store, outbox: Outbox, counters: Counters) -> None:
        self._topics, self._store, self._outbox, self._counters = topics, store, outbox, counters
        self._rejections = Rejections(topics, store, outbox, counters)
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._uses: dict[tuple[str, int], Use] = {}
        self._not_held: dict[str, Remembered] = {}
        self.rejected: list[Callable[[Frame], None]] = []

    def start(self) -> None:
        """With what a kill has left behind."""
        self._rejections.start()
        try:
            if count := self._store.release_held():
                log.warning("%d results had waited for their outputs when the station ended: they go out now", count)
        except StoreError as error:
            log.error("%s", error)

    def close(self) -> None:
        self._rejections.close()

    def delivered(self, message: Message) -> Delivered | None:
        """Which sending this is a delivery of; None for QoS 0. To be called once for each message, in their order."""
        delivery = message.delivery
        if delivery is None:
            return None
        user = (part for pair in sorted(message.user.items()) for part in pair)
        content = request_id(message.topic, message.payload, *user)
        key = (delivery.session, delivery.packet_id)
        with self._lock:
            last = self._uses.get(key)
        if last is None:
            try:
                last = self._store.last_use(delivery)
            except StoreError as error:
                log.error("%s", error)
        delivered = Delivered(delivery, next_use(last, content, delivery.dup))
        with self._lock:
            self._uses[key] = delivered.use
        return delivered

    def take(self, frame: Frame, delivered: Delivered, acknowledge: Callable[[], None]) -> bool:
        """False where the frame waits already, or was answered: then it is acknowledged when it has been, or now.

        A result is given again, with the id that it had; a rejection is not.
        """
        with self._lock:
            waiting = self._waiting.get(frame.id)
            if waiting is None:
                answer = self._answered(frame, delivered)
                if answer is None:
                    self._waiting[frame.id] = _Waiting([(delivered, acknowledge)])
                    return True
            else:
                waiting.deliveries.append((delivered, acknowledge))
        self._counters.add("frames_duplicate")
        if waiting is None:
            if answer is not None and answer.topic:
                self._outbox.put(answer)
            self._forget(delivered)
            acknowledge()
        return False

    def _answered(self, frame: Frame, delivered: Delivered) -> Outgoing | None:
        try:
            return self._store.answered_frame((frame.id, delivered.id))
        except StoreError as error:
            log.error("%s", error)
            return None

    def give(self, frame: Frame, result: InspectionResult) -> None:
        message = Outgoing(self._topics.result(frame.camera), result.encode(), JSON_TYPE)
        memory = self._memory(frame)
        self._outbox.put(message, memory, lasting=memory is not None)

    def hold(self, frame: Frame, result: InspectionResult) -> None:
        """Put the result on disk, as it goes out where the station is killed before `release`."""
        message = Outgoing(self._topics.result(frame.camera), result.encode(), JSON_TYPE)
        memory = self._memory(frame)
        try:
            self._store.hold(frame.id, message, memory)
        except StoreError as error:
            if memory is not None:
                with self._lock:
                    self._not_held[frame.id] = memory
            self._counters.add("store_errors")
            log.error("%s", error)

    def release(self, frame: Frame, result: InspectionResult) -> None:
        """Give out a result that was held, as it is now."""
        message = Outgoing(self._topics.result(frame.camera), result.encode(), JSON_TYPE)
        with self._lock:
            memory = self._not_held.pop(frame.id, None)
        if memory is not None:  # the disk refused it: that the frame or trigger is answered is not on disk yet
            self._outbox.put(message, memory)
            return
        try:
            self._store.release(frame.id, message)
        except StoreError:
            self._outbox.put(message)
        else:
            self._outbox.wake()

    def reject(self, frame: Frame, code: str, message: str) -> None:
        """Count the frame and say on the camera's event topic why it has no result."""
        camera = "" if code == "unknown_camera" else frame.camera  # whoever sends it could name any
        self._counters.add("frames_rejected", camera=camera, reason=code)
        event = Event(
            id=request_id(frame.id, code)[:32],
            event_type="frame_rejected",
            camera=frame.camera,
            name=frame.name,
            part_id=frame.part_id,
            error=WireError(code=code, message=message),
        )
        self._rejections.add(event, code, self._memory_of(frame, again=False))
        for told in self.rejected:
            told(frame)

    def done(self, frame: Frame) -> None:
        """The frame was answered, or gave way: acknowledge every delivery of it."""
        with self._lock:
            waiting = self._waiting.pop(frame.id, None)
        for delivered, acknowledge in waiting.deliveries if waiting is not None else ():
            self._forget(delivered)
            acknowledge()

    def _forget(self, delivered: Delivered) -> None:
        """Before it is acknowledged: from then on its packet id may come with another frame."""
        with self._lock:
            self._uses.pop((delivered.delivery.session, delivered.delivery.packet_id), None)

    def _memory(self, frame: Frame) -> Remembered | None:
        """With a result; that of a part answers the frames of its views, too."""
        if not isinstance(frame, Part):
            return self._memory_of(frame, again=True)
        views = (self._memory_of(view, again=False) for view in frame.views)
        return PartAnswer(frame.id, tuple(view for view in views if view is not None))

    def _memory_of(self, frame: Frame, *, again: bool) -> FrameAnswer | None:
        with self._lock:
            waiting = self._waiting.get(frame.id)
        if waiting is None:
            return None
        delivered, _ = waiting.deliveries[0]
        return FrameAnswer(frame.id if again else delivered.id, delivered.delivery, delivered.use, again)
