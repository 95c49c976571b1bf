"""A second look at a picture that was turned by half a turn, and what two such looks tell together.

A part whose surface is inspected has no up and down, and a thread is the same thread upside down (its mirror image is
not). A model that was taught so errs differently on the turned picture: the mean of both looks errs less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lineside.runtime.chat import Picture
from lineside.runtime.engine.sequence import Counts
from lineside.runtime.inspection.task import VERDICTS, Defect, InspectionTask, Region, Verdict
from lineside.runtime.inspection.verdict import fail_probability
from lineside.runtime.timings import FinishReason, Timings

REACH = 3.0
"""Two boxes are of one defect where their centres are closer than so many times their mean width, and height."""

LEAST_SIDE = 0.1
"""Pixels: boxes are rounded to a tenth, in which the box of a tiny picture may be lost."""


@dataclass(frozen=True)
class Sight:
    """What is looked at: a picture `(height, width, 3)` uint8 for a task; `region` in pixels is where to look."""

    picture: Picture
    task: InspectionTask
    region: Region | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.shape[1], self.picture.shape[0]

    def turned(self) -> Sight:
        """The same upside down, with the reference."""
        reference = self.task.reference
        task = self.task if reference is None else replace(self.task, reference=_turn(reference))
        region = None if self.region is None else turned_box(self.region, self.size)
        return Sight(_turn(self.picture), task, region)


def _turn(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[::-1, ::-1])


def turned_box(box: Region, size: tuple[int, int]) -> Region:
    """Where a box of a picture of `size` lies once the picture is turned."""
    width, height = size
    x0, y0, x1, y1 = box
    return round(width - x1, 1), round(height - y1, 1), round(width - x0, 1), round(height - y0, 1)


def mean(probabilities: Sequence[Mapping[Verdict, float]]) -> dict[Verdict, float]:
    """Of the probability of each verdict."""
    return {name: sum(each[name] for each in probabilities) / len(probabilities) for name in VERDICTS}


@dataclass(frozen=True)
class Told:
    """What a look told: the probability of each verdict, defects in pixels of the picture that was looked at, and what
    `Inspection` says of them.
    """

    probabilities: Mapping[Verdict, float]
    defects: tuple[Defect, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts
    report: Any


def together(upright: Told, turned: Told, size: tuple[int, int]) -> tuple[Defect, ...]:
    """The defects that both looks at a picture of `size` tell, each box the mean of two; where there are none, those of
    the more suspicious look, and of the other where it tells none.
    """
    back = [replace(found, box=turned_box(found.box, size)) for found in turned.defects]
    both = _pairs(upright.defects, back)
    if both:
        return tuple(Defect(a.type, _between(a.box, b.box)) for a, b in both)
    if fail_probability(turned.probabilities) > fail_probability(upright.probabilities):
        return tuple(back) or upright.defects
    return upright.defects or tuple(back)


def _pairs(one: Sequence[Defect], other: Sequence[Defect]) -> list[tuple[Defect, Defect]]:
    """Defects of one type that lie beside each other, one to one, the closest first."""
    distances = sorted(
        (distance, i, j)
        for i, a in enumerate(one)
        for j, b in enumerate(other)
        if a.type == b.type and (distance := _distance(a.box, b.box)) < REACH
    )
    left, right, pairs = set[int](), set[int](), []
    for _, i, j in distances:
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            pairs.append((one[i], other[j]))
    return pairs


def _distance(a: Region, b: Region) -> float:
    """Between the centres, in mean widths or in mean heights, whichever is more."""
    across = abs(a[0] + a[2] - b[0] - b[2]) / max(a[2] - a[0] + b[2] - b[0], LEAST_SIDE)
    down = abs(a[1] + a[3] - b[1] - b[3]) / max(a[3] - a[1] + b[3] - b[1], LEAST_SIDE)
    return max(across, down)


def _between(a: Region, b: Region) -> Region:
    x0, y0, x1, y1 = (round((u + v) / 2, 1) for u, v in zip(a, b, strict=True))
    return x0, y0, x1, y1
