"""Turned, then cut to what is looked at; what comes out is of the whole frame."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import RegionOutside
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import GateObservation, Inspection
from lineside.runtime.inspection.preparation import AS_GIVEN, Degrees, Preparation
from lineside.runtime.inspection.task import Example, InspectionTask
from lineside.runtime.inspection.verdict import Defect, Thresholds
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings
from tests.support.gates import features, small_memory

CLOCKWISE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_frame_is_turned_clockwise(degrees: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    found = Preparation(cast(Degrees, degrees)).upright(picture)
    wanted = picture if not degrees else cv2.rotate(picture, CLOCKWISE[degrees])
    np.testing.assert_array_equal(found, wanted)


def test_the_region_is_a_part_of_the_turned_frame() -> None:
    picture = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    preparation = Preparation(90, (3, 5, 10, 20))
    turned = preparation.upright(picture)
    np.testing.assert_array_equal(preparation.part(turned), turned[5:25, 3:13])
    assert AS_GIVEN.part(picture) is picture


@pytest.mark.parametrize("region", [(21, 0, 10, 5), (0, 16, 5, 5), (40, 40, 5, 5)])
def test_a_region_that_is_not_in_the_frame_is_no_smaller_one(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(RegionOutside, match=r"30 x 20 pixels.*\[x, y, width, height\]"):
        Preparation(region=region).part(np.zeros((20, 30, 3), np.uint8))


def test_what_came_out_is_of_the_frame() -> None:
    seen = GateObservation(1.0, np.zeros((2, 2), np.float32), (1.0, 2.0, 3.0, 4.0), None)
    found = Inspection("fail", 1, 1, (Defect("dent", (0.5, 1, 2, 3)),), "stop", Timings(), Counts(), gate=seen)
    moved = Preparation(region=(100, 200, 50, 60)).in_frame(found)
    assert moved.defects == (Defect("dent", (100.5, 201, 102, 203)),)
    assert moved.gate is not None
    assert list(moved.gate.region) == [101, 202, 103, 204]
    assert list(moved.looked_at or ()) == [100, 200, 150, 260]
    assert AS_GIVEN.in_frame(found) is found


@pytest.mark.parametrize("gated", [False, True])
def test_model_and_gate_look_at_the_region_alone(pictures: list[Path], default_engine: Engine, gated: bool) -> None:
    """Whatever is around it; and their boxes are of the frame."""
    picture = decode_picture(pictures[0].read_bytes())
    height, width = picture.shape[:2]
    preparation = Preparation(0, (60, 90, width, height))
    frames = [np.full((height + 150, width + 100, 3), level, np.uint8) for level in (0, 200)]
    for frame in frames:
        frame[90 : 90 + height, 60 : 60 + width] = picture
    task = InspectionTask(("pitting",), part="ball screw", preparation=preparation)
    inspector: Inspector | GatedInspector = Inspector(default_engine, task, Thresholds(0.0, 0.0))
    if gated:
        inspector = GatedInspector(cast(Inspector, inspector), Gate(features(), small_memory()))
    one, other = (inspector.inspect(frame) for frame in frames)
    assert one.fail_probability == pytest.approx(other.fail_probability, abs=1e-3)
    assert list(one.looked_at or ()) == [60, 90, 60 + width, 90 + height]
    boxes = [each.box for each in one.defects] + ([one.gate.region] if one.gate is not None else [])
    assert boxes
    assert all(box[0] >= 60 and box[1] >= 90 and box[2] <= 60 + width and box[3] <= 90 + height for box in boxes)


def test_max_side_is_of_all_that_is_shown(default_engine: Engine) -> None:
    """The reference, the frame and the examples; what a look costs goes down with it; boxes stay."""
    good = np.random.default_rng(0).integers(0, 255, (300, 900, 3), np.uint8)
    beside = InspectionTask(("dent",), reference=good, max_side=448)
    shown = [part for part in beside.messages(good)[-1].content if isinstance(part, np.ndarray)]
    assert [part.shape for part in shown] == [(149, 448, 3), (149, 448, 3)]
    (example,) = (
        turn.content[0]
        for turn in InspectionTask(("dent",), max_side=448, examples=(Example(good, "pass"),)).messages(good)[1:2]
    )
    assert isinstance(example, np.ndarray)
    assert example.shape == (149, 448, 3)
    region = (90.0, 30.0, 450.0, 150.0)
    assert (
        beside.messages(good, region)[-1].content[-1]
        == InspectionTask(("dent",)).messages(good, region)[-1].content[-1]
    )
    plain = Inspector(default_engine, InspectionTask(("pitting",), part="ball screw"), Thresholds(0.0, 0.0))
    all_of_it, less = plain.inspect(good), plain.inspect(good, max_side=448)
    assert less.counts.prompt < all_of_it.counts.prompt


def test_max_side_of_a_request_is_that_of_its_report_too(default_engine: Engine) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (60, 900, 3), np.uint8)
    reporting = Inspector(default_engine, InspectionTask(("pitting",), report={"type": "boolean"}, part="ball screw"))
    less, all_of_it = (reporting.inspect(picture, max_side=side).observations[-1] for side in (448, 0))
    assert less.counts.prompt < all_of_it.counts.prompt
    assert not less.probabilities, "the report's"
