"""What is measured of every picture of a camera, whatever it shows: light, focus, and where things are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
SIDE = 256
"""Pixels of the longer side of the small picture in which a camera's movement is measured."""
SAMPLES = 64
"""Rows that are looked at for sharpness."""
NEAR, FAR = 2, 8
"""Pixels between the levels that are compared for sharpness: blur takes differences that are near."""


@dataclass(frozen=True)
class PictureFigures:
    """Of one picture.

    Attributes:
        size: width and height in pixels.
        brightness: mean level of grey, 0 to 255.
        sharpness: how much of what changes within 8 pixels changes within 2; light and contrast do not change it.
        small: the picture in grey, `(height, width)`, its longer side `SIDE` or what the picture has.
    """

    size: tuple[int, int]
    brightness: float
    sharpness: float
    small: Grey


@dataclass(frozen=True)
class Offset:
    """By how many pixels of the picture, to the right and down, it shows a scene elsewhere than another one does.

    Attributes:
        likeness: how plainly: 1 where nothing else differs, 0 where the two have nothing in common.
    """

    right: float
    down: float
    likeness: float

    @property
    def length(self) -> float:
        return math.hypot(self.right, self.down)


def figures_of(picture: Picture) -> PictureFigures:
    """Of an RGB picture `(height, width, 3)`."""
    height, width = picture.shape[:2]
    step, small = max(height // SAMPLES, 1), _small(picture)
    rows = np.ascontiguousarray(picture[step // 2 :: step])
    return PictureFigures((width, height), float(small.mean()), _sharpness(rows), small)


def offset(small: Floats, other: Floats, width: int) -> Offset:
    """Of `other` against `small`, both from `windowed`, in pixels of a picture of that width: phase correlation, exact
    to a fraction of a pixel of the small picture (Kuglin and Hines, 1975)."""
    (right, down), likeness = cv2.phaseCorrelate(small, other)
    scale = width / small.shape[1]
    if not math.isfinite(likeness):
        return Offset(0.0, 0.0, 0.0)
    return Offset(right * scale, down * scale, likeness)


def windowed(small: npt.NDArray[np.generic]) -> Floats:
    """Without its mean, and fading to nothing towards its edges, which are no edges of the scene."""
    grey = small.astype(np.float32)
    return np.asarray((grey - grey.mean()) * _window(small.shape[1], small.shape[0]), np.float32)


@lru_cache(maxsize=16)
def _window(width: int, height: int) -> Floats:
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), np.float32)


def _sharpness(rows: Picture) -> float:
    """Of some rows of a picture `(N, width, 3)`; 0 where they show nothing, or are too narrow."""
    if rows.shape[1] <= FAR:
        return 0.0
    grey = cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY).astype(np.float32)
    bends = 2 * grey[:, NEAR:-NEAR] - grey[:, : -2 * NEAR] - grey[:, 2 * NEAR :]
    changes = grey[:, FAR:] - grey[:, :-FAR]
    coarse = float(np.square(changes).mean())
    return math.sqrt(float(np.square(bends).mean()) / coarse) if coarse else 0.0


def _small(picture: Picture) -> Grey:
    """Shrunk in two steps: the first is quick whatever the size, the second leaves no pattern behind."""
    height, width = picture.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    columns, rows = max(round(width * scale), 2), max(round(height * scale), 2)
    twice = cv2.resize(picture, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(twice, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
