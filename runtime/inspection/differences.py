"""Where a picture differs from a reference of the same scene: places for the model to see close up.

Two pictures of one view are never the same: the part lies a little elsewhere, and the camera's optics bend it. So the
reference is first shifted, as a whole and then place by place, to where it fits best, and edges may lie a pixel or two
off.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.verdict import Region

Grey = npt.NDArray[np.uint8]
MOST_OFFSET, MOST_SHIFT = 12, 4
"""Pixels in each direction, of the whole and then of each place: that all lies elsewhere by less is no difference."""
BLOCK, NEIGHBOURHOOD = 8, 11
"""Pixels along the side of what is shifted as one, and blocks along the side of what it is fitted by."""
SHIFT_COST = 0.1
"""In grey levels a pixel: of two shifts that fit equally well, the smaller one."""
TOLERANCE = 2
"""Pixels by which an edge may lie elsewhere."""
LEAST_CONTRAST, LEAST_PIXELS = 60, 9
"""Of a difference: grey levels, and how many pixels of one place."""
JOINED = 9
"""Differences that are so near to each other, in pixels, are one."""
BORDER = MOST_SHIFT + TOLERANCE
"""Pixels along the border of the picture of which the reference may show nothing."""
MOST_REGIONS, MOST_SHARE = 24, 0.25
"""With more places, or more of the picture, the two do not show the same scene."""
BRIGHTER, DARKER = (255, 0, 0), (0, 64, 255)
TINT = 0.7
"""Colours of what is brighter and darker than in the reference, and how much of them is laid over it."""


@dataclass(frozen=True)
class Comparison:
    """`regions` are tight boxes, the largest difference first; `reference` is shifted onto the picture, and `tinted` is
    the picture with its differences coloured."""

    regions: tuple[Region, ...]
    reference: Picture
    tinted: Picture


def compare(picture: Picture, reference: Picture) -> Comparison | None:
    """Where `picture` differs from `reference`; None where they differ too much, or in size, to be of one view, or are
    too small to be compared."""
    if picture.shape != reference.shape:
        return None
    grey = _grey(picture)
    offset = _offset(grey, _grey(reference))
    fitted = _fitted(grey, _moved(reference, offset))
    compared = _compared(grey.shape, offset)
    brighter, darker = (mask * compared for mask in _changed(grey, _grey(fitted)))
    changed = brighter | darker
    if changed.sum() >= MOST_SHARE * compared.sum():
        return None
    joined = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((JOINED, JOINED), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined)
    pixels = np.bincount(labels[changed > 0], minlength=count)
    places = [at for at in np.argsort(-pixels) if at > 0 and pixels[at] >= LEAST_PIXELS]
    if len(places) > MOST_REGIONS:
        return None
    x, y, w, h = (boxes[places, column].astype(float) for column in range(4))
    regions = tuple(zip(x.tolist(), y.tolist(), (x + w).tolist(), (y + h).tolist(), strict=True))
    return Comparison(regions, fitted, _tinted(picture, brighter, darker))


def _grey(picture: Picture) -> Grey:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.uint8)


def _offset(grey: Grey, reference: Grey) -> tuple[int, int]:
    """By how much to move the whole reference, x and y: by phase correlation, if that brings the two closer."""
    if min(grey.shape) <= 2 * BORDER:
        return 0, 0
    window = cv2.createHanningWindow(grey.shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(reference.astype(np.float32), grey.astype(np.float32), window)
    offset = (round(x), round(y))
    if max(map(abs, offset)) > MOST_OFFSET:
        return 0, 0
    before, after = (cv2.absdiff(grey, _moved(reference, way)).mean() for way in ((0, 0), offset))
    return offset if after < before else (0, 0)


def _moved(picture: Picture, offset: tuple[int, int]) -> Picture:
    """What comes in from outside is as the border was."""
    matrix = np.asarray([[1, 0, offset[0]], [0, 1, offset[1]]], np.float32)
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))


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


def _changed(grey: Grey, reference: Grey) -> tuple[Grey, Grey]:
    """1 where the picture is brighter, and where it is darker, than every pixel of the reference within the tolerance,
    or where no pixel of it is as dark, or as bright, as the reference is there."""
    near = np.ones((2 * TOLERANCE + 1, 2 * TOLERANCE + 1), np.uint8)

    def excess(bright: Grey, dark: Grey) -> Grey:
        most = np.maximum(cv2.subtract(bright, cv2.dilate(dark, near)), cv2.subtract(cv2.erode(bright, near), dark))
        return np.asarray(most >= LEAST_CONTRAST, np.uint8)

    return excess(grey, reference), excess(reference, grey)


def _compared(shape: tuple[int, ...], offset: tuple[int, int]) -> Grey:
    """1 but along the border, which is wider where the reference was moved away from it."""
    inner = np.zeros(shape, np.uint8)
    columns, rows = (
        slice(BORDER + max(moved, 0), max(side - BORDER + min(moved, 0), 0))
        for moved, side in zip(offset, shape[::-1], strict=True)
    )
    inner[rows, columns] = 1
    return inner


def _tinted(picture: Picture, brighter: Grey, darker: Grey) -> Picture:
    tinted = np.array(picture)
    for mask, colour in ((brighter > 0, BRIGHTER), (darker > 0, DARKER)):
        tinted[mask] = np.round(tinted[mask] * (1 - TINT) + np.asarray(colour) * TINT)
    return tinted
