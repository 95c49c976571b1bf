"""The pictures of one part while they are gathered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lineside.devices.cameras.frame import Frame
from lineside.edge.frames.mailbox import Work
from lineside.edge.frames.part import Part
from lineside.edge.triggers_config import TriggerConfig
from lineside.edge.wire.trigger_store import StoredTrigger
from lineside.edge.wire.views import WireMissing, WireTrigger


@dataclass(eq=False)
class Gathering:
    """Fills up from several threads; whoever holds it sees to that.

    Attributes:
        moment: `time.monotonic()` of the trigger; `deadline` that from which on a camera is missing.
        asked: live cameras, which say themselves what is wrong with them.
        found: by camera, a frame or why there is none.
        resumed: it is of an earlier run of the station: what stood before a camera then is gone.
        moment_known: False where it came once more and says no time: nobody knows when the part was there.
        ends: by camera, when the next part is before it.
        announced: what the collector was told of it before it was taken over.
        done: called when the part has its result.
    """

    trigger: StoredTrigger
    config: TriggerConfig
    moment: float
    deadline: float
    done: Callable[[], None]
    resumed: bool = False
    moment_known: bool = True
    found: dict[str, Work | WireMissing] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    ends: dict[str, float] = field(default_factory=dict)
    announced: object = None

    @property
    def begins(self) -> float:
        """From when on a frame may be of this part."""
        return self.earliest - self.config.before_s

    @property
    def earliest(self) -> float:
        """When the part is before the cameras."""
        return self.moment + self.config.delay_s

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self.config.cameras)

    def wants(self, frame: Frame, *, queued: bool) -> bool:
        """Whether a frame that was sent may be taken: it is missing, and may be of this part.

        Args:
            queued: the camera is a queue, each of whose pictures is one part's.
        """
        if frame.camera not in self.config.cameras or frame.camera in self.found:
            return False
        return self.fits(frame, queued=queued) and (self.names(frame) or not self.resumed)

    def fits(self, frame: Frame, *, queued: bool) -> bool:
        """Whether a frame may be of this part, needed or not: it names it, or one of the two names none and it is of
        the right time. Only a time that the sender gave says that it is of no later part.
        """
        if frame.part_id and self.part_ids:
            return frame.part_id in self.part_ids
        if queued:
            return True
        ends = min(self.ends.get(frame.camera, float("inf")), self.deadline) if frame.stamped else float("inf")
        return self.begins <= frame.received < ends

    def names(self, frame: Frame) -> bool:
        return bool(frame.part_id) and frame.part_id in self.part_ids

    @property
    def part_ids(self) -> set[str]:
        """What its trigger calls the part, else what the frames that it has call it: one name, or none."""
        if self.trigger.part_id:
            return {self.trigger.part_id}
        return {work.frame.part_id for work in self.works() if work.frame.part_id}

    def works(self) -> list[Work]:
        return [found for camera in self.config.cameras if isinstance(found := self.found.get(camera), Work)]

    def size(self) -> int:
        """Bytes of the pictures that it holds."""
        return sum(size_of(work.frame) for work in self.works())

    def part(self) -> Part:
        """Of all that was found."""
        frames = tuple(work.frame for work in self.works())
        trigger, at = self.trigger, datetime.fromtimestamp(self.trigger.at, UTC)
        named = trigger.part_id or next((frame.part_id for frame in frames if frame.part_id), "")
        return Part(
            camera=trigger.name,
            captured_at=at,
            received=self.moment,
            part_id=named,
            id=trigger.id,
            moment_known=self.moment_known,
            trigger=WireTrigger(id=trigger.said or trigger.id, name=trigger.name, at=at),
            views=frames,
            missing=tuple(found for found in self.found.values() if isinstance(found, WireMissing)),
        )


def size_of(frame: Frame) -> int:
    return len(frame.data or b"") + (frame.pixels.nbytes if frame.pixels is not None else 0)
