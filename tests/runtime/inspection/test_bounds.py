"""What the model was not taught is `unsure`, and said; what it was taught is as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.runtime.bundle import read_manifest
from lineside.runtime.chat import Picture
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.bounds import blank, color_of, not_taught, taught_colors, unusual_color
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.manifest import Taught, TaughtPart
from lineside.runtime.picture import decode_picture

TAUGHT = read_manifest(DEFAULT_BUNDLE).taught
SCREW = InspectionTask(("pitting",), part="Ball_Screw")
BOARD = InspectionTask(("open", "short"), part="circuit board", reference=np.zeros((9, 9, 3), np.uint8))


@pytest.fixture(scope="module")
def picture(pictures: list[Path]) -> Picture:
    return decode_picture(pictures[0].read_bytes())


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (SCREW, ""),
        (BOARD, ""),
        (replace(SCREW, part=""), "it is not said which part is shown"),
        (replace(SCREW, part="washer"), "the model was taught ball screw and circuit board, not washer"),
        (replace(SCREW, defect_types=("pitting", "rust")), "taught pitting on ball screw, not rust"),
        (replace(SCREW, reference=BOARD.reference), "ball screw without a reference beside it, not with one"),
        (replace(BOARD, reference=None), "circuit board with a reference beside it, not without one"),
        (replace(BOARD, defect_types=("pitting",)), "not pitting"),
    ],
)
def test_a_task_is_held_against_what_was_taught_of_that_part(task: InspectionTask, why: str) -> None:
    said = not_taught(TAUGHT, task)
    assert why in said
    assert bool(said) == bool(why)
    assert not not_taught(Taught(), task)


def test_a_model_may_know_any_part_within_bounds() -> None:
    taught = Taught(parts=(TaughtPart(defect_types=("crack",), colors=("grey",)),))
    washer = InspectionTask(("crack",), part="washer")
    assert not not_taught(taught, washer)
    assert "not rust" in not_taught(taught, InspectionTask(("rust",)))
    assert taught_colors(taught, washer) == ("grey",)


def test_colours_of_a_picture(picture: Picture) -> None:
    grey = grey_of(picture)
    saved = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    assert (color_of(picture), color_of(grey), color_of(np.asarray(saved, np.uint8))) == ("color", "grey", "grey")
    assert not unusual_color(grey, taught_colors(TAUGHT, BOARD))
    assert "is in colour" in unusual_color(picture, taught_colors(TAUGHT, BOARD))


def test_a_picture_that_shows_nothing(picture: Picture) -> None:
    noise = np.random.default_rng(1).integers(0, 6, picture.shape).astype(np.uint8)
    assert "black" in blank(noise)
    assert "even" in blank(np.full_like(picture, 200))
    assert not blank(picture)


def test_own_parts_in_grey_and_black_are_unsure(default_engine: Engine, picture: Picture) -> None:
    inspector = Inspector(default_engine, SCREW)
    usual, grey, black = (inspector.inspect(each) for each in (picture, grey_of(picture), np.zeros_like(picture)))
    assert (usual.verdict, usual.doubt) == ("pass", "")
    assert (grey.verdict, black.verdict, black.decided_by) == ("unsure", "unsure", "picture")
    assert "the picture is grey" in grey.doubt
    assert "black" in black.doubt


def test_a_part_that_was_never_taught_is_unsure_until_a_calibration_vouches(
    default_engine: Engine, picture: Picture
) -> None:
    washer = replace(SCREW, part="washer")
    own, vouched = (Inspector(default_engine, washer, calibration=fitted) for fitted in (None, Calibration()))
    assert own.inspect(picture).verdict == "unsure"
    assert vouched.inspect(picture).verdict == "pass"
    of_color = Inspector(default_engine, washer, calibration=Calibration(), colors=("color",))
    assert of_color.inspect(grey_of(picture)).verdict == "unsure"


def grey_of(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
