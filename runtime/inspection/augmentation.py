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

MOST_APART = 0.5
"""Probability of a defect by which two views of one frame are taken to differ at most. Of 258 photographs of ball
screws five pairs differed by more, all with a first view that was less sure than a verdict without a second one asks
for; so did one of another 138, and no verdict changed.
"""


def mean(probabilities: Sequence[Mapping[Verdict, float]]) -> dict[Verdict, float]:
    """Of the probability of each verdict."""
    return {name: sum(each[name] for each in probabilities) / len(probabilities) for name in VERDICTS}


def swayed(first: Mapping[Verdict, float]) -> list[dict[Verdict, float]]:
    """The means with the least and with the most suspicious second view that there can be, after a `first` one."""
    decided, own = first["pass"] + first["fail"], fail_probability(first)
    extremes = [min(max(own + apart, 0.0), 1.0) * decided for apart in (-MOST_APART, MOST_APART)]
    return [mean([first, {**first, "fail": fail, "pass": decided - fail}]) for fail in extremes]


def merged(upright: Observation, rotated: Observation, size: tuple[int, int]) -> tuple[Defect, ...]:
    """The defects that both observations of a view of `size` have, a box around both for each. Where they have
    none in common, those of both, the more suspicious observation first: each may show what the other does not.
    """
    back = tuple(replace(found, box=rotated_box(found.box, size)) for found in rotated.defects)
    both = _pairs(upright.defects, back)
    if both:
        return tuple(Defect(a.type, _around(a.box, b.box)) for a, b in both)
    if fail_probability(rotated.probabilities) > fail_probability(upright.probabilities):
        return back + upright.defects
    return upright.defects + back


def _pairs(one: Sequence[Defect], other: Sequence[Defect]) -> list[tuple[Defect, Defect]]:
    """Defects of one type, one to one, those that overlap most first; the centre of each lies in the other's box."""
    overlaps = sorted(
        (-_overlap(a.box, b.box), i, j)
        for i, a in enumerate(one)
        for j, b in enumerate(other)
        if a.type == b.type and _has_centre(a.box, b.box) and _has_centre(b.box, a.box)
    )
    left, right, pairs = set[int](), set[int](), []
    for _, i, j in overlaps:
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            pairs.append((one[i], other[j]))
    return pairs


def _overlap(a: Region, b: Region) -> float:
    """Intersection over union."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _has_centre(box: Region, other: Region) -> bool:
    """Whether the centre of `other` lies in `box`."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _around(a: Region, b: Region) -> Region:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
