"""How the good pictures of a camera usually are: what its later pictures are held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lineside.runtime.inspection.picture_figures import Floats, Grey, Offset, PictureFigures, offset, windowed

MOST = 40
"""Pictures at most that are laid over one another."""
PARTS = 5
"""So many times a part of the pictures is held against the others."""
LEAST = 3
"""Pictures of one size, below which a camera's position is not known."""


@dataclass(frozen=True)
class Usual:
    """Of the good pictures of a camera.

    Attributes:
        size: width and height in pixels, of most of them.
        brightness: the lowest, the median and the highest mean level.
        sharpness: the lowest and the median; 0 where it is not known.
        farthest: pixels by which a good picture shows the scene elsewhere than the others, at most.
        likeness: the least of a good picture to the others.
        unsure: share of pictures that are expected to be `unsure`, 0 to 1.
        small: median of the small grey pictures, `(height, width)`; without any pixels where there are too few of them.
    """

    size: tuple[int, int]
    brightness: tuple[float, float, float]
    sharpness: tuple[float, float]
    farthest: float
    likeness: float
    unsure: float
    small: Grey = field(compare=False)

    @cached_property
    def _windowed(self) -> Floats:
        return windowed(self.small)

    def offset(self, figures: PictureFigures) -> Offset | None:
        """Of a picture against the good ones; None where it has another size, or their position is not known."""
        if figures.size != self.size or not self.small.size:
            return None
        return offset(self._windowed, windowed(figures.small), self.size[0])


def usual_of(good: Sequence[PictureFigures], unsure: float) -> Usual:
    """Of one good picture or more."""
    size = Counter(each.size for each in good).most_common(1)[0][0]
    same = [each for each in good if each.size == size]
    brightness = np.asarray([each.brightness for each in good])
    sharpness = np.asarray([each.sharpness for each in same])
    smalls = [same[at].small for at in np.unique(np.linspace(0, len(same) - 1, MOST).round().astype(int))]
    known = len(smalls) >= LEAST
    offsets = _offsets(smalls, size[0]) if known else []
    return Usual(
        size,
        (float(brightness.min()), float(np.median(brightness)), float(brightness.max())),
        (float(sharpness.min()), float(np.median(sharpness))),
        max((each.length for each in offsets), default=0.0),
        min((each.likeness for each in offsets), default=0.0),
        unsure,
        _median(smalls) if known else np.zeros((0, 0), np.uint8),
    )


def _offsets(smalls: Sequence[Grey], width: int) -> list[Offset]:
    """Of each picture against the median of those that were not taken out with it."""
    found = []
    parts = min(PARTS, len(smalls))
    for part in range(parts):
        others = windowed(_median([each for at, each in enumerate(smalls) if at % parts != part]))
        found += [offset(others, windowed(each), width) for each in smalls[part::parts]]
    return found


def _median(smalls: Sequence[Grey]) -> Grey:
    return np.asarray(np.median(np.stack(smalls), axis=0).round(), np.uint8)
