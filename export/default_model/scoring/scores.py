"""Figures of merit: areas under curves, and boxes matched with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.runtime.inspection.verdict import Defect

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """How many labelled boxes were found, how many were missed, and how many found ones match no label."""

    found: int = 0
    missed: int = 0
    spurious: int = 0

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.found + other.found, self.missed + other.missed, self.spurious + other.spurious)

    @property
    def recall(self) -> float:
        return self.found / max(self.found + self.missed, 1)

    @property
    def f1(self) -> float:
        return 2 * self.found / max(2 * self.found + self.missed + self.spurious, 1)


def match(labels: Sequence[Defect], found: Sequence[Defect], least_iou: float, *, typed: bool = True) -> Matches:
    """One to one, the best overlaps first; `typed` wants the same type too."""
    pairs = sorted(
        (
            (iou(label, box), i, j)
            for i, label in enumerate(labels)
            for j, box in enumerate(found)
            if not typed or label.type == box.type
        ),
        reverse=True,
    )
    taken_labels, taken_boxes = set[int](), set[int]()
    for overlap, i, j in pairs:
        if overlap >= least_iou and i not in taken_labels and j not in taken_boxes:
            taken_labels.add(i)
            taken_boxes.add(j)
    hits = len(taken_labels)
    return Matches(hits, len(labels) - hits, len(found) - hits)


def auroc(scores: Floats, positive: Labels) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    above = (scores[positive][:, None] > scores[~positive][None]).mean()
    equal = (scores[positive][:, None] == scores[~positive][None]).mean()
    return float(above + 0.5 * equal)


def balanced_accuracy(scores: Floats, positive: Labels, threshold: float) -> float:
    """Mean of the hit rates on both classes."""
    return float(((scores[positive] >= threshold).mean() + (scores[~positive] < threshold).mean()) / 2)


def iou(a: Defect, b: Defect) -> float:
    """Intersection over union of two boxes."""
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((d.box[2] - d.box[0]) * (d.box[3] - d.box[1]) for d in (a, b))
    return width * height / (areas - width * height)
