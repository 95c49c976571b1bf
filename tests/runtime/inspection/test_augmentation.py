from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.runtime.bundle import read_manifest
from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import DeadlineExceeded, EngineError, RequestCancelled
from lineside.runtime.inspection.augmentation import MOST_APART, mean, merged, swayed
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Observation
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Defect, Region, Thresholds, Verdict, fail_probability, judge
from lineside.runtime.inspection.view import View, rotated_box
from lineside.runtime.manifest import MANIFEST
from lineside.runtime.picture import decode_picture
from lineside.runtime.timings import Counts, Timings

SIZE = (640, 260)
PICTURES = Path("deploy/stations/ballscrew/pictures")
LOOKED_AT = (
    "01_200829120305_585000_090_crop_2.jpg",  # surely good
    "01_200906073528_585000_090_crop_2.jpg",  # in doubt: looked at twice
    "01_200906233220_437500_315_crop_2.jpg",  # surely defective, one box
    "01_200907192033_437500_315_crop_1.jpg",  # defective, and the nearest to doubt
)
BOX = st.tuples(st.integers(0, 600), st.integers(0, 220), st.integers(1, 40), st.integers(1, 40)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


@given(BOX)
def test_a_rotated_box_is_where_the_turned_picture_shows_it(box: Region) -> None:
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    x0, y0, x1, y1 = (int(v) for v in box)
    picture[y0:y1, x0:x1] = 255
    view = View(picture, InspectionTask(("pitting",), part="ball screw"), box).rotated()
    assert view.region == rotated_box(box, SIZE)
    x0, y0, x1, y1 = (int(v) for v in view.region)
    assert view.picture[y0:y1, x0:x1].all()
    assert view.picture.sum() == picture.sum()
    assert view.rotated().region == box


def observed(fail: float, *defects: Defect) -> Observation:
    probabilities: dict[Verdict, float] = {"pass": 1 - fail, "fail": fail, "unsure": 0.0}
    return Observation(probabilities, defects, "stop", Timings(), Counts())


def as_rotated(*defects: Defect) -> list[Defect]:
    return [Defect(each.type, rotated_box(each.box, SIZE)) for each in defects]


PIT, BESIDE = Defect("pitting", (100.0, 50.0, 120.0, 60.0)), Defect("pitting", (105.0, 52.0, 125.0, 64.0))
ELSEWHERE = Defect("pitting", (400.0, 50.0, 420.0, 60.0))


def test_what_both_looks_tell_lies_in_a_box_around_both() -> None:
    found = merged(observed(0.9, PIT, ELSEWHERE), observed(0.5, *as_rotated(BESIDE)), SIZE)
    assert found == (Defect("pitting", (100.0, 50.0, 125.0, 64.0)),)


@pytest.mark.parametrize(("upright", "turned", "first"), [(0.9, 0.2, PIT), (0.2, 0.9, ELSEWHERE)])
def test_where_no_boxes_overlap_all_stand_the_more_suspicious_look_first(
    upright: float, turned: float, first: Defect
) -> None:
    """A box between two that lie apart would show nothing."""
    found = merged(observed(upright, PIT), observed(turned, *as_rotated(ELSEWHERE)), SIZE)
    assert found[0] == first
    assert set(found) == {PIT, ELSEWHERE}


@given(BOX, BOX)
def test_no_box_lies_where_no_look_has_one(one: Region, other: Region) -> None:
    looks = (observed(0.9, Defect("pitting", one)), observed(0.2, *as_rotated(Defect("pitting", other))))
    for found in merged(*looks, SIZE):
        x, y = (found.box[0] + found.box[2]) / 2, (found.box[1] + found.box[3]) / 2
        assert any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in (one, other))


@given(st.floats(0, 1), st.floats(-MOST_APART, MOST_APART), st.floats(0, 1), st.floats(0, 1))
def test_a_look_that_is_left_out_could_not_have_changed_the_verdict(
    one: float, apart: float, low: float, above: float
) -> None:
    other, thresholds = min(max(one + apart, 0.0), 1.0), Thresholds(low, min(low + above, 1.0))
    first, second = (observed(p).probabilities for p in (one, other))
    least, most = (fail_probability(each) for each in swayed(first))
    assert least - 1e-9 <= fail_probability(mean([first, second])) <= most + 1e-9
    if thresholds.verdict(least) == thresholds.verdict(most):
        clipped = min(max(fail_probability(mean([first, second])), least), most)
        assert thresholds.verdict(clipped) == thresholds.verdict(least)


@pytest.mark.parametrize(
    ("first", "worth"),
    [(0.0, False), (0.09, False), (0.11, True), (0.5, True), (0.89, True), (0.91, False), (1.0, False)],
)
def test_a_second_look_is_taken_where_it_may_change_the_verdict(first: float, worth: bool) -> None:
    own = observed(first).probabilities
    verdicts = {judge(each, Thresholds(), None)[0] for each in (own, *swayed(own))}
    assert (len(verdicts) > 1) == worth


@pytest.mark.parametrize("left", [121.0, 111.0])
def test_boxes_that_hardly_meet_are_not_made_one(left: float) -> None:
    beside = Defect("pitting", (left, 50.0, left + 20, 60.0))
    assert merged(observed(0.9, PIT), observed(0.8, *as_rotated(beside)), SIZE) == (PIT, beside)


def test_a_look_that_tells_nothing_leaves_it_to_the_other() -> None:
    assert merged(observed(0.9), observed(0.2, *as_rotated(PIT)), SIZE) == (PIT,)
    assert merged(observed(0.2, PIT), observed(0.9), SIZE) == (PIT,)


def test_boxes_that_rounding_has_made_empty_are_compared() -> None:
    point = Defect("pitting", (3.0, 3.0, 3.0, 3.0))
    assert merged(observed(0.9, point), observed(0.2, *as_rotated(point)), SIZE) == (point,)


def test_defects_of_two_types_are_not_one() -> None:
    crack = Defect("crack", PIT.box)
    assert merged(observed(0.9, PIT), observed(0.2, *as_rotated(crack)), SIZE) == (PIT, crack)


@pytest.fixture(scope="module", params=LOOKED_AT)
def picture(request: pytest.FixtureRequest) -> Picture:
    return decode_picture((PICTURES / request.param).read_bytes())


def test_it_does_not_matter_which_way_up_a_part_lies(default_engine: Engine, picture: Picture) -> None:
    inspector = Inspector(default_engine, InspectionTask(("pitting",), part="ball screw"), Thresholds(0.5, 0.5))
    both = (picture, np.ascontiguousarray(picture[::-1, ::-1]))
    fail, turned_fail = (fail_probability(inspector.probabilities(each)) for each in both)
    assert fail == pytest.approx(turned_fail, abs=0.02)
    upright, turned = (inspector.inspect(each) for each in both)
    assert upright.verdict == turned.verdict
    assert bool(upright.defects) == bool(turned.defects) == (upright.verdict == "fail")


def test_a_part_with_an_up_and_a_down_is_looked_at_once(default_engine: Engine, picture: Picture) -> None:
    once = Inspector(default_engine, InspectionTask(("pitting",), part="ball screw", any_way_up=False)).inspect(picture)
    doubt = min(max(once.fail_probability, 0.01), 0.99)
    twice = Inspector(
        default_engine, InspectionTask(("pitting",), part="ball screw"), Thresholds(doubt, doubt)
    ).inspect(picture)
    assert twice.counts.prompt >= 2 * once.counts.prompt
    assert twice.fail_probability != once.fail_probability


def test_a_part_that_is_surely_good_or_bad_is_looked_at_once(default_engine: Engine, picture: Picture) -> None:
    task = InspectionTask(("pitting",), part="ball screw")
    once = Inspector(default_engine, replace(task, any_way_up=False)).inspect(picture)
    inspection = Inspector(default_engine, task).inspect(picture)
    own = observed(once.fail_probability).probabilities
    sure = len({judge(each, Thresholds(), None)[0] for each in (own, *swayed(own))}) == 1
    assert inspection.counts.prompt >= (1 if sure else 2) * once.counts.prompt
    assert (inspection.counts.prompt == once.counts.prompt) == sure
    assert not sure or inspection.verdict == once.verdict != "unsure"


def test_a_bundle_that_does_not_say_so_is_looked_at_once(default_engine: Engine, tmp_path: Path) -> None:
    older = json.loads(default_engine.bundle.manifest.to_json()) | {"format_version": 2}
    del older["any_way_up"]
    (tmp_path / MANIFEST).write_text(json.dumps(older))
    assert not read_manifest(tmp_path).any_way_up


class OneSided(Inspector):
    """Finds the turned picture suspicious, the upright one good; `late` is raised where it is asked again."""

    late: EngineError | None = None
    asked = 0

    def _probabilities(self, logits: Any) -> dict[Verdict, float]:
        super()._probabilities(logits)
        self.asked += 1
        if self.asked > 2 and self.late is not None:
            raise self.late
        fail = 0.9 if self.asked == 2 else 0.3
        return {"pass": 1 - fail, "fail": fail, "unsure": 0.0}


def test_a_look_that_told_nothing_is_asked_again(default_engine: Engine, picture: Picture) -> None:
    inspector = OneSided(default_engine, InspectionTask(("pitting",), part="ball screw"), Thresholds(0.5, 0.5))
    inspection = inspector.inspect(picture)
    assert (inspector.asked, inspection.verdict, inspection.complete) == (3, "fail", True)
    assert inspection.fail_probability == pytest.approx(0.6)
    assert inspection.defects


@pytest.mark.parametrize(
    ("late", "reason"), [(DeadlineExceeded("late"), "deadline"), (RequestCancelled("stopped"), "cancelled")]
)
def test_a_verdict_outlives_the_time_for_its_boxes(
    default_engine: Engine, picture: Picture, late: EngineError, reason: str
) -> None:
    inspector = OneSided(default_engine, InspectionTask(("pitting",), part="ball screw"), Thresholds(0.5, 0.5))
    inspector.late = late
    inspection = inspector.inspect(picture)
    assert (inspection.verdict, inspection.finish_reason) == ("fail", reason)
    assert inspection.defects  # those of the rotated view


def test_a_model_that_was_not_taught_so_looks_once(random_engine: Engine, picture: Picture) -> None:
    inspections = [
        Inspector(
            random_engine, InspectionTask(("pitting",), part="ball screw", any_way_up=allowed), Thresholds(1.0, 1.0)
        ).inspect(picture)
        for allowed in (True, False)
    ]
    assert inspections[0].counts.prompt == inspections[1].counts.prompt
