"""Pictures with their labels, however they are turned, cut and pasted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.export.default_model.data import ballscrew, pcb
from lineside.runtime.inspection.verdict import Defect
from tests.conftest import ROOT
from tests.support.boards import board

SCREWS = ROOT / "deploy/stations/ballscrew"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_boards_are_turned_and_cut_with_their_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    varied = pcb.augment(board(rng), rng)
    assert varied.reference is not None
    assert varied.picture.shape == varied.reference.shape
    for defect in varied.defects:
        x0, y0, x1, y1 = (round(value) for value in defect.box)
        assert (varied.picture[y0:y1, x0:x1] == 40 + pcb.TYPES.index(defect.type)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_what_a_label_of_a_board_holds_stays_in_it(seed: int) -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    picture[80:95, 60:130] = 255
    view = ballscrew.Example("x", "p", picture, (Defect("open", (60.0, 80.0, 130.0, 95.0)),), picture)
    warped = pcb.warp(view, np.random.default_rng(seed))
    rows, columns = np.nonzero(warped.picture[..., 0] > 127)
    x0, y0, x1, y1 = warped.defects[0].box
    assert x0 - 1.5 <= columns.min()
    assert columns.max() <= x1 + 1.5
    assert y0 - 1.5 <= rows.min()
    assert rows.max() <= y1 + 1.5
    assert warped.reference is not None
    np.testing.assert_array_equal(warped.reference, warped.picture)


def test_each_defect_of_a_board_is_seen_close_up() -> None:
    reference = np.zeros((640, 640, 3), np.uint8)
    reference[:, ::40] = 255
    boxes = ((22.0, 30.0, 36.0, 42.0), (300.0, 310.0, 318.0, 330.0), (612.0, 8.0, 628.0, 22.0))
    defects = tuple(Defect(pcb.TYPES[at], box) for at, box in enumerate(boxes))
    picture = reference.copy()
    for x0, y0, x1, y1 in boxes:
        picture[int(y0) : int(y1), int(x0) : int(x1)] = 255
    views = pcb.close_ups(ballscrew.Example("b", "b", picture, defects, reference))
    assert sorted(view.defects[0].type for view in views) == sorted(defect.type for defect in defects)
    for view in views:
        assert view.reference is not None
        assert view.picture.shape == view.reference.shape
        x0, y0, x1, y1 = (round(v) for v in view.defects[0].box)
        assert view.picture[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2, 0].min() > 200
        assert view.reference[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].max() < 50


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_augmented_boxes_stay_inside(examples: list[ballscrew.Example], seed: int) -> None:
    rng = np.random.default_rng(seed)
    donors = [example for example in examples if example.defects]
    varied = ballscrew.augment(examples[seed % len(examples)], donors, rng)
    height, width = varied.picture.shape[:2]
    assert varied.picture.dtype == np.uint8
    for defect in varied.defects:
        x0, y0, x1, y1 = defect.box
        assert -1 <= x0 < x1 <= width + 1
        assert -1 <= y0 < y1 <= height + 1


def test_tiny_defects_are_pasted_beside_those_that_are_there(examples: list[ballscrew.Example]) -> None:
    donors = [example for example in examples if example.defects]
    pasted = [ballscrew.with_tiny(example, donors, np.random.default_rng(at), 6) for at, example in enumerate(examples)]
    for before, after in zip(examples, pasted, strict=True):
        added = after.defects[len(before.defects) :]
        assert after.defects[: len(before.defects)] == before.defects
        assert bool(added) != np.array_equal(before.picture, after.picture)
        longest = max(max(d.box[2] - d.box[0], d.box[3] - d.box[1]) for e in donors for d in e.defects)
        assert all(max(d.box[2] - d.box[0], d.box[3] - d.box[1]) < 0.5 * longest for d in added)
        kept = ballscrew.only_tiny(after)
        assert set(kept.defects) == {d for d in after.defects if d.box[2] - d.box[0] < 15 and d.box[3] - d.box[1] < 15}
    assert sum(len(after.defects) for after in pasted) > sum(len(before.defects) for before in examples)
