"""A made-up circuit board."""

from __future__ import annotations

import numpy as np

from lineside.export.default_model.data import ballscrew, pcb
from lineside.runtime.inspection.verdict import Defect


def board(rng: np.random.Generator) -> ballscrew.Example:
    """A made-up pair of scans with three defects."""
    reference = np.broadcast_to((rng.random((640, 640, 1)) < 0.5).astype(np.uint8) * 255, (640, 640, 3))
    boxes = ((20, 30, 60, 55), (300, 310, 330, 345), (600, 20, 636, 50))
    defects = tuple(Defect(pcb.TYPES[at], box) for at, box in enumerate(boxes))
    picture = reference.copy()
    for at, (x0, y0, x1, y1) in enumerate(boxes):
        picture[y0:y1, x0:x1] = 40 + at
    return ballscrew.Example("b", "b", picture, defects, reference)
