"""Boxes matched with boxes: how many overlap, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineside.runtime.inspection.verdict import Defect


@dataclass(frozen=True)
class Matches:
    """How many labelled boxes were found, how many were missed, and how many found ones match no label.

    `overlap` is the sum of the intersections over unions of those that were found.
    """

    found: int = 0
    missed: int = 0
    spurious: int = 0
    overlap: float = 0.0

    def __add__(self, other: Matches) -> Matches:
        return Matches(
            self.found + other.found,
            self.missed + other.missed,
            self.spurious + other.spurious,
            self.overlap + other.overlap,
        )

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
    total = 0.0
    for overlap, i, j in pairs:
        if overlap >= least_iou and i not in taken_labels and j not in taken_boxes:
            taken_labels.add(i)
            taken_boxes.add(j)
            total += overlap
    hits = len(taken_labels)
    return Matches(hits, len(labels) - hits, len(found) - hits, total)


def iou(a: Defect, b: Defect) -> float:
    """Intersection over union of two boxes."""
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((d.box[2] - d.box[0]) * (d.box[3] - d.box[1]) for d in (a, b))
    return width * height / (areas - width * height)
