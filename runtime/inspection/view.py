"""A view: what the model is shown at once of a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Region


@dataclass(frozen=True)
class View:
    """A picture `(height, width, 3)` uint8 for a task: the whole frame, a close-up, or either of them rotated.

    Attributes:
        region: where something may be wrong, in pixels of the view; None where nothing is known.
    """

    picture: Picture
    task: InspectionTask
    region: Region | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.shape[1], self.picture.shape[0]

    def rotated(self) -> View:
        """The same by half a turn, with the reference."""
        reference = self.task.reference
        task = self.task if reference is None else replace(self.task, reference=_rotate(reference))
        region = None if self.region is None else rotated_box(self.region, self.size)
        return View(_rotate(self.picture), task, region)


def rotated_box(box: Region, size: tuple[int, int]) -> Region:
    """Where a box of a picture of `size`, width and height, lies once the picture is rotated by half a turn."""
    width, height = size
    x0, y0, x1, y1 = box
    return round(width - x1, 1), round(height - y1, 1), round(width - x0, 1), round(height - y0, 1)


def _rotate(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[::-1, ::-1])
