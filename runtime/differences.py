"""Where a picture differs from a reference of the same view: places for the model to look at closely.

Two pictures of one view are never the same: the part lies a little elsewhere, and the camera's optics bend it. So the
reference is first shifted, place by place, to where it fits best, and edges may lie a pixel or two off.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from runtime.chat import Picture
from runtime.inspection import Region

Grey = npt.NDArray[np.uint8]
MOST_SHIFT = 4
"""Pixels in each direction."""
BLOCK, NEIGHBOURHOOD = 8, 11
"""Pixels along the side of what is shifted as one, and blocks along the side of what it is fitted by."""
SHIFT_COST = 0.1
"""In grey levels a pixel: of two shifts that fit equally well, the smaller one."""
TOLERANCE = 2
"""Pixels by which an edge may lie elsewhere."""
LEAST_CONTRAST, LEAST_PIXELS = 60, 4
"""Of a difference: grey levels, and how many pixels of one place."""
JOINED = 9
"""Differences that are so near to each other, in pixels, are one."""
MOST_REGIONS, MOST_SHARE = 24, 0.25
"""With more places, or more of the picture, the two do not show the same view."""


@dataclass(frozen=True)
class Comparison:
    """`regions` are tight boxes, the largest difference first; `reference` is shifted onto the picture."""

    regions: tuple[Region, ...]
    reference: Picture


def compare(picture: Picture, reference: Picture) -> Comparison | None:
    """Where `picture` differs from `reference`; None where they differ too much, or in size, to be of one view."""
    if picture.shape != reference.shape:
        return None
    fitted = _fitted(_grey(picture), reference)
    changed = _changed(_grey(picture), _grey(fitted))
    if changed.mean() > MOST_SHARE:
        return None
    joined = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((JOINED, JOINED), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined)
    pixels = np.bincount(labels[changed > 0], minlength=count)
    places = [at for at in np.argsort(-pixels) if at > 0 and pixels[at] >= LEAST_PIXELS]
    if len(places) > MOST_REGIONS:
        return None
    x, y, w, h = (boxes[places, column].astype(float) for column in range(4))
    return Comparison(tuple(zip(x.tolist(), y.tolist(), (x + w).tolist(), (y + h).tolist(), strict=True)), fitted)


def _grey(picture: Picture) -> Grey:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.uint8)


def _fitted(grey: Grey, reference: Picture) -> Picture:
    """`reference` with each block shifted to where the blocks around it fit `grey` best."""
    height, width = grey.shape
    reach = MOST_SHIFT
    framed = np.pad(reference, ((reach, reach), (reach, reach), (0, 0)), "edge")
    framed_grey = _grey(framed)
    small = (-(-width // BLOCK), -(-height // BLOCK))
    least = np.full(small[::-1], np.inf, np.float32)
    shifts = np.zeros((*small[::-1], 2), np.float32)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            moved = framed_grey[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
            error = cv2.resize(cv2.absdiff(grey, moved), small, interpolation=cv2.INTER_AREA).astype(np.float32)
            error = cv2.blur(error, (NEIGHBOURHOOD, NEIGHBOURHOOD)) + SHIFT_COST * (abs(dx) + abs(dy))
            better = error < least
            least[better], shifts[better] = error[better], (dx, dy)
    full = cv2.resize(shifts, (width, height), interpolation=cv2.INTER_NEAREST)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(framed, columns + full[..., 0] + reach, rows + full[..., 1] + reach, cv2.INTER_NEAREST), np.uint8
    )


def _changed(grey: Grey, reference: Grey) -> Grey:
    """1 where no pixel within the tolerance of the other picture is as bright or as dark."""
    near = np.ones((2 * TOLERANCE + 1, 2 * TOLERANCE + 1), np.uint8)
    excess = [
        difference
        for one, other in ((grey, reference), (reference, grey))
        for difference in (cv2.subtract(one, cv2.dilate(other, near)), cv2.subtract(cv2.erode(other, near), one))
    ]
    return np.asarray(np.maximum.reduce(excess) >= LEAST_CONTRAST, np.uint8)
