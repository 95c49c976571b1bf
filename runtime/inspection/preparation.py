"""How a camera's pictures are made ready: turned upright, then the part of them that is looked at.

Frames, references, examples and the pictures that are learnt or calibrated from all go this way, so that what a gate or
a calibration knows is what it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lineside.runtime.chat import Picture
from lineside.runtime.errors import RegionOutside
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.verdict import Defect, Region

Degrees = Literal[0, 90, 180, 270]


@dataclass(frozen=True)
class Preparation:
    """Attributes:
    rotate: degrees, clockwise, by which a picture is turned first.
    region: x, y, width and height of what is looked at, in pixels of the turned picture; None for all of it.
    """

    rotate: Degrees = 0
    region: tuple[int, int, int, int] | None = None

    def __str__(self) -> str:
        """As a station file says it."""
        region = "no `region`" if self.region is None else f"`region` {list(self.region)}"
        return f"{region} and `rotate` {self.rotate}"

    @property
    def box(self) -> Region | None:
        """The region as boxes are written: x0, y0, x1, y1."""
        if self.region is None:
            return None
        x, y, width, height = self.region
        return float(x), float(y), float(x + width), float(y + height)

    def upright(self, picture: Picture) -> Picture:
        """The whole frame, `(height, width, 3)`: boxes are in its pixels."""
        return picture if not self.rotate else np.ascontiguousarray(np.rot90(picture, -self.rotate // 90))

    def part(self, frame: Picture) -> Picture:
        """What is looked at of an upright frame. Raises RegionOutside."""
        if self.region is None:
            return frame
        x, y, width, height = self.region
        if x + width > frame.shape[1] or y + height > frame.shape[0]:
            raise RegionOutside(
                f"`region` {list(self.region)} reaches beyond the frame, which has {frame.shape[1]} x {frame.shape[0]} "
                "pixels: it is [x, y, width, height] in pixels of the frame, turned by `rotate`"
            )
        return np.ascontiguousarray(frame[y : y + height, x : x + width])

    def in_frame(self, inspection: Inspection) -> Inspection:
        """What came out of a part, with its boxes in pixels of the frame."""
        if self.region is None:
            return inspection
        x, y, _, _ = self.region
        gate = inspection.gate
        return replace(
            inspection,
            defects=tuple(Defect(each.type, _moved(each.box, x, y)) for each in inspection.defects),
            gate=gate if gate is None else replace(gate, region=_moved(gate.region, x, y)),
            looked_at=self.box,
        )


AS_GIVEN = Preparation()
"""Pictures as they are."""


def _moved(box: Region, x: int, y: int) -> Region:
    x0, y0, x1, y1 = box
    return round(x0 + x, 1), round(y0 + y, 1), round(x1 + x, 1), round(y1 + y, 1)
