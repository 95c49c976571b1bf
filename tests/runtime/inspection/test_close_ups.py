"""A picture beside its reference: where they differ, what is shown of it, and what is made of several close-ups."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.close_ups import CLOSE_SIDE, CloseUp, close_ups, worst
from lineside.runtime.inspection.differences import BRIGHTER, DARKER, MOST_SHIFT, TINT, compare
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Defect, Verdict
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings
from tests.conftest import ROOT

BOARDS = ROOT / "deploy/stations/boards"
TYPES = ("open", "short", "mousebite", "spur", "spurious_copper", "pinhole")


def stripes() -> Picture:
    """A part with edges in both directions."""
    picture = np.full((240, 320, 3), 40, np.uint8)
    picture[:, 30::60] = picture[:, 31::60] = picture[:, 32::60] = 220
    picture[50::70] = picture[51::70] = picture[52::70] = 220
    return picture


@settings(max_examples=60, deadline=None)
@given(st.integers(-MOST_SHIFT, MOST_SHIFT), st.integers(-MOST_SHIFT, MOST_SHIFT), st.integers(0, 9))
def test_a_part_that_lies_a_little_elsewhere_does_not_differ(dx: int, dy: int, noise: int) -> None:
    rng = np.random.default_rng(noise)
    moved = np.roll(stripes(), (dy, dx), axis=(0, 1)).astype(int) + rng.integers(-noise, noise + 1, stripes().shape)
    found = compare(moved.clip(0, 255).astype(np.uint8), stripes())
    assert found is not None
    inside = [r for r in found.regions if r[0] > 8 and r[1] > 8 and r[2] < 312 and r[3] < 232]
    assert inside == [], "what rolls in at the border may differ"


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 270), st.integers(8, 190), st.integers(14, 30), st.integers(-2, 2))
def test_a_spot_is_found_where_it_is(x: int, y: int, side: int, shift: int) -> None:
    picture = stripes()
    picture[y : y + side, x : x + side] = 130
    found = compare(np.roll(picture, shift, axis=1), stripes())
    assert found is not None
    middle = (x + shift + side / 2, y + side / 2)
    assert any(x0 - 6 <= middle[0] <= x1 + 6 and y0 - 6 <= middle[1] <= y1 + 6 for x0, y0, x1, y1 in found.regions)


def test_pictures_of_something_else_are_not_compared() -> None:
    other = np.random.default_rng(0).integers(0, 255, stripes().shape).astype(np.uint8)
    assert compare(other, stripes()) is None
    assert compare(stripes()[:100], stripes()) is None
    assert not close_ups(other, stripes()).same_scene


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (12, 12), (12, 400), (13, 13), (20, 28), (30, 30)])
def test_small_pictures_are_compared_or_refused(shape: tuple[int, int]) -> None:
    white, black = np.full((*shape, 3), 255, np.uint8), np.zeros((*shape, 3), np.uint8)
    assert compare(white, black) is None
    if min(shape) > 12:
        found = compare(black, black)
        assert found is not None
        assert found.regions == ()


def test_a_view_shows_the_same_place_of_both_also_at_the_border() -> None:
    picture = stripes()
    picture[2:12, 306:318] = 130
    (view,) = close_ups(picture, stripes()).found
    assert view.picture.shape == view.reference.shape == (CLOSE_SIDE, CLOSE_SIDE, 3)
    centre = np.s_[CLOSE_SIDE // 2 - 10 : CLOSE_SIDE // 2 + 10, CLOSE_SIDE // 2 - 10 : CLOSE_SIDE // 2 + 10]
    assert view.reference[centre].mean() < 90
    red, green, blue = view.picture[centre].reshape(-1, 3).mean(0)
    assert red > 190, "brighter than it should be"
    assert max(green, blue) < 60


@pytest.mark.parametrize(("grey", "colour"), [(200, BRIGHTER), (0, DARKER)])
def test_what_differs_is_tinted_and_nothing_else(grey: int, colour: tuple[int, int, int]) -> None:
    reference = np.full((120, 160, 3), 100, np.uint8)
    picture = reference.copy()
    picture[40:60, 70:90] = grey
    before = picture.copy()
    found = compare(picture, reference)
    assert found is not None
    tinted = (found.tinted != picture).any(-1)
    np.testing.assert_array_equal(picture, before)
    assert tinted[44:56, 74:86].all()
    tinted[40:60, 70:90] = False
    assert not tinted.any()
    expected = np.asarray(colour) * TINT + grey * (1 - TINT)
    np.testing.assert_allclose(found.tinted[50, 80], expected, atol=1)


def inspected(verdict: Verdict, fail: float, *defects: Defect) -> Inspection:
    return Inspection(verdict, 0.5, fail, defects, "stop", Timings(prefill_ms=2.0), Counts(10, 5, 3, 1))


def close_up(left: float, top: float, side: float) -> CloseUp:
    blank = np.zeros((CLOSE_SIDE, CLOSE_SIDE, 3), np.uint8)
    return CloseUp(blank, blank, (left, top, left + side, top + side))


def test_the_worst_look_decides_and_boxes_come_back_in_pixels_of_the_picture() -> None:
    found = Defect("short", (48.0, 96.0, 144.0, 192.0))
    inspections = [
        inspected("pass", 0.1),
        inspected("fail", 0.9, found),
        inspected("unsure", 0.5, Defect("open", (0, 0, 9, 9))),
    ]
    whole = worst(inspections, [close_up(0, 0, 96), close_up(-10, 200, 96), close_up(0, 0, 96)], (320, 240))
    assert (whole.verdict, whole.fail_probability, whole.confidence) == ("fail", 0.9, 0.9)
    assert whole.defects == (Defect("short", (14.0, 240.0, 62.0, 240.0)),), "half as large, and cut at the border"
    assert whole.timings.prefill_ms == 6.0
    assert whole.counts == Counts(30, 15, 9, 3)
    unsure = worst(
        [inspected("pass", 0.1), inspected("unsure", 0.6, found)],
        [close_up(0, 0, 96), close_up(40, 50, 300)],
        (640, 640),
    )
    assert (unsure.verdict, unsure.confidence) == ("unsure", 0.6)
    assert unsure.defects == (Defect("short", (88.0, 146.0, 184.0, 242.0)),), "not magnified, so not scaled"


@pytest.fixture(scope="module")
def board() -> tuple[Picture, Picture]:
    scan, reference = (decode_picture((BOARDS / name).read_bytes()) for name in ("board.png", "reference.png"))
    return scan, reference


@pytest.mark.parametrize(("x", "y"), [(0, -4), (9, 0), (-11, 11), (7, 12)])
def test_a_board_may_lie_elsewhere_as_a_whole(board: tuple[Picture, Picture], x: int, y: int) -> None:
    scan, reference = (np.pad(picture, ((30, 30), (30, 30), (0, 0)), "edge") for picture in board)
    straight, moved = compare(scan, reference), compare(np.roll(scan, (y, x), axis=(0, 1)), reference)
    assert straight is not None
    assert moved is not None
    inside = [region for region in straight.regions if region[2] < scan.shape[1] - 35]
    assert len(inside) == len(json.loads((BOARDS / "labels.json").read_text())["board.png"]["defects"])
    expected = [[x0 + x, y0 + y, x1 + x, y1 + y] for x0, y0, x1, y1 in inside]
    there = [region for region in moved.regions if region[2] - x < scan.shape[1] - 35]
    np.testing.assert_allclose(sorted(map(list, there)), sorted(expected), atol=2)


def test_every_fault_of_a_board_is_looked_at(board: tuple[Picture, Picture]) -> None:
    seen = close_ups(*board)
    labels = json.loads((BOARDS / "labels.json").read_text())["board.png"]["defects"]
    centres = [((view.place[0] + view.place[2]) / 2, (view.place[1] + view.place[3]) / 2) for view in seen.found]
    for label in labels:
        x0, y0, x1, y1 = label["box"]
        assert any(x0 <= x <= x1 and y0 <= y <= y1 for x, y in centres), label


def test_a_board_is_compared_with_its_reference(default_engine: Engine, board: tuple[Picture, Picture]) -> None:
    inspector = Inspector(default_engine, InspectionTask(TYPES, part="circuit board", reference=board[1]))
    found = inspector.inspect(board[0])
    assert found.verdict == "fail"
    assert found.fail_probability > 0.65
    assert len(found.defects) >= 4
    assert found.timings.vision_ms > 0
    probabilities = inspector.probabilities(board[0])
    assert probabilities["fail"] / (probabilities["fail"] + probabilities["pass"]) == pytest.approx(
        found.fail_probability, abs=1e-3
    )


def test_a_board_like_its_reference_passes(default_engine: Engine, board: tuple[Picture, Picture]) -> None:
    inspector = Inspector(default_engine, InspectionTask(TYPES, part="circuit board", reference=board[1]))
    assert inspector.inspect(np.roll(board[1], 1, axis=0)).verdict == "pass"
    other = np.ascontiguousarray(board[0].transpose(1, 0, 2)[::-1])
    assert inspector.inspect(other).verdict != "pass", "hardly the same scene"
