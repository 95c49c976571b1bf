"""Boxes matched with boxes."""

from __future__ import annotations

import pytest

from lineside.runtime.inspection.overlap import Matches, iou, match
from lineside.runtime.inspection.verdict import Defect


def test_intersection_over_union() -> None:
    a, b = Defect("x", (0, 0, 10, 10)), Defect("x", (5, 0, 15, 10))
    assert iou(a, b) == pytest.approx(50 / 150)
    assert iou(a, a) == 1.0
    assert iou(a, Defect("x", (20, 20, 30, 30))) == 0.0


def test_boxes_are_matched_one_to_one() -> None:
    labels = [Defect("a", (0, 0, 10, 10)), Defect("a", (20, 0, 30, 10)), Defect("b", (40, 0, 50, 10))]
    found = [Defect("a", (1, 0, 11, 10)), Defect("a", (0, 0, 10, 10)), Defect("a", (40, 0, 50, 10))]
    assert match(labels, found, 0.3) == Matches(found=1, missed=2, spurious=2, overlap=1.0)
    assert match(labels, found, 0.3, typed=False) == Matches(found=2, missed=1, spurious=1, overlap=2.0)
    assert match([], [], 0.3).f1 == 0.0
    total = Matches(3, 1, 1, 2.5) + Matches(1, 0, 0, 0.5)
    assert [total.recall, total.f1, total.overlap] == pytest.approx([4 / 5, 8 / 10, 3.0])
