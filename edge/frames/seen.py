"""What came of one frame, for those who want to know."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.devices.cameras.frame import Frame
from lineside.edge.wire.messages import InspectionResult
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.observation import Inspection


@dataclass(frozen=True)
class Seen:
    """A frame that was inspected, decoded, and its result as it went out.

    Attributes:
        views: of a part, each picture with what was seen in it; `picture` and `inspection` are then those of the worst,
            or say that there is none, and the results of single views are not sent.
    """

    frame: Frame
    picture: Picture
    inspection: Inspection
    result: InspectionResult
    views: tuple[Seen, ...] = ()
