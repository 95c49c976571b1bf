"""Test-time augmentation: a frame is shown once more, rotated by half a turn, and both observations count.

A part whose surface is inspected has no up and down, and a thread is the same thread upside down (its mirror image is
not). A model that was taught so errs differently on the rotated view: the mean of both observations errs less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lineside.runtime.inspection.observation import Observation
from lineside.runtime.inspection.verdict import VERDICTS, Defect, Region, Verdict, fail_probability
from lineside.runtime.inspection.view import rotated_box


def mean(probabilities: Sequence[Mapping[Verdict, float]]) -> dict[Verdict, float]:
    """Of the probability of each verdict."""
    return {name: sum(each[name] for each in probabilities) / len(probabilities) for name in VERDICTS}


def merged(upright: Observation, rotated: Observation, size: tuple[int, int]) -> tuple[Defect, ...]:
    """The defects that both observations of a view of `size` have, each box the mean of two that overlap. Where no two
    do, those of the more suspicious observation, and of the other where it has none: between two boxes that lie apart
    there is nothing to see.
    """
    back = [replace(found, box=rotated_box(found.box, size)) for found in rotated.defects]
    both = _pairs(upright.defects, back)
    if both:
        return tuple(Defect(a.type, _between(a.box, b.box)) for a, b in both)
    if fail_probability(rotated.probabilities) > fail_probability(upright.probabilities):
        return tuple(back) or upright.defects
    return upright.defects or tuple(back)


def _pairs(one: Sequence[Defect], other: Sequence[Defect]) -> list[tuple[Defect, Defect]]:
    """Defects of one type that overlap, one to one, those first that overlap most."""
    overlaps = sorted(
        (-shared, i, j)
        for i, a in enumerate(one)
        for j, b in enumerate(other)
        if a.type == b.type and (shared := overlap(a.box, b.box)) > 0
    )
    left, right, pairs = set[int](), set[int](), []
    for _, i, j in overlaps:
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            pairs.append((one[i], other[j]))
    return pairs


def overlap(a: Region, b: Region) -> float:
    """Intersection over union, 0 to 1."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0.0) * max(down, 0.0)
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / whole if whole else 0.0


def _between(a: Region, b: Region) -> Region:
    x0, y0, x1, y1 = (round((u + v) / 2, 1) for u, v in zip(a, b, strict=True))
    return x0, y0, x1, y1
