"""A picture compared with a reference: the places where the two differ are shown one by one, magnified: close-ups.

A defect of a board is a thousandth of its picture. Shown whole, it is lost among the image tokens; shown close up,
beside the same place of the reference, it fills a quarter of what the model sees, and each view has one thing to show.
What is brighter than it should be is tinted red there, and what is darker blue: to compare two pictures is harder for a
model than to read one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.differences import compare
from lineside.runtime.inspection.observation import Inspection, confidence
from lineside.runtime.inspection.verdict import Defect, Region, Verdict
from lineside.runtime.timings import total

MARGIN = 11
"""Pixels that a labelled box leaves around a difference, by which what is shown around it is scaled."""
CLOSE_SIDE = 192
"""Pixels along the side of what is shown, at least: four image tokens of 48."""
WORST_FIRST: tuple[Verdict, ...] = ("fail", "unsure", "pass")


@dataclass(frozen=True)
class CloseUp:
    """A place with its differences coloured, beside what it should be like; `place` is the square of the picture that
    both magnify."""

    picture: Picture
    reference: Picture
    place: Region


@dataclass(frozen=True)
class CloseUps:
    """None were `found` where nothing differs by enough to be shown, or so much that it is hardly the same scene."""

    found: tuple[CloseUp, ...]
    same_scene: bool


def close_ups(picture: Picture, reference: Picture) -> CloseUps:
    """The places of `picture` that differ from `reference`, the largest difference first."""
    differences = compare(picture, reference)
    if differences is None:
        return CloseUps((), False)
    places = [window(region) for region in differences.regions]
    found = (CloseUp(magnified(differences.tinted, at), magnified(differences.reference, at), at) for at in places)
    return CloseUps(tuple(found), True)


def window(region: Region) -> Region:
    """The square to show for a region, which may reach beyond the picture: twice as large as a box around it."""
    x0, y0, x1, y1 = region
    side = round(2 * (max(x1 - x0, y1 - y0) + 2 * MARGIN))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    return left, top, left + side, top + side


def magnified(picture: Picture, place: Region) -> Picture:
    """What is shown of a square, magnified where it is small; beyond the picture its border goes on."""
    left, top, right, bottom = (int(v) for v in place)
    height, width = picture.shape[:2]
    rows, columns = np.arange(top, bottom).clip(0, height - 1), np.arange(left, right).clip(0, width - 1)
    side = max(right - left, CLOSE_SIDE)
    part = np.ascontiguousarray(picture[rows[:, None], columns])
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def worst(inspections: Sequence[Inspection], close_ups: Sequence[CloseUp], size: tuple[int, int]) -> Inspection:
    """One inspection of those of all close-ups of a picture of `size`, width and height.

    The verdict is the worst one, with the defects of the close-ups that gave it.
    """
    defect = max(each.fail_probability for each in inspections)
    verdict = next(name for name in WORST_FIRST if any(each.verdict == name for each in inspections))
    pairs = zip(inspections, close_ups, strict=True)
    blamed = [(each, close_up) for each, close_up in pairs if each.verdict == verdict != "pass"]
    return Inspection(
        verdict,
        confidence(verdict, defect),
        defect,
        tuple(_in_picture(found, close_up.place, size) for each, close_up in blamed for found in each.defects),
        next((each.finish_reason for each in inspections if not each.complete), "stop"),
        total([each.timings for each in inspections]),
        total([each.counts for each in inspections]),
        observations=tuple(observation for each in inspections for observation in each.observations),
    )


def _in_picture(found: Defect, place: Region, size: tuple[int, int]) -> Defect:
    """A defect whose box is of what was shown of `place`, with its box in pixels of the picture."""
    left, top, right, _ = place
    scale = (right - left) / max(right - left, CLOSE_SIDE)
    limits, corner = (*size, *size), (left, top, left, top)
    x0, y0, x1, y1 = (
        round(min(max(at + v * scale, 0.0), float(most)), 1)
        for at, v, most in zip(corner, found.box, limits, strict=True)
    )
    return Defect(found.type, (x0, y0, x1, y1))
