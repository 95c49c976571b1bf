from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.runtime.errors import AnswerError
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.task import ANSWER_PREFIX, InspectionTask, format_answer
from lineside.runtime.inspection.verdict import Defect, Thresholds, judge

TASK = InspectionTask(("pitting", "crack"))
BOX = st.tuples(st.floats(0, 300), st.floats(0, 200), st.floats(20, 340), st.floats(20, 260)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(st.builds(Defect, st.sampled_from(TASK.defect_types), BOX), max_size=8))
def test_formatting_and_parsing_agree_to_a_thousandth(defects: list[Defect]) -> None:
    width, height = 640, 480
    text = format_answer("fail", tuple(defects), width, height)
    assert text.startswith(ANSWER_PREFIX)
    jsonschema.validate(json.loads(text), {"properties": TASK.properties(), "additionalProperties": False})
    for before, after in zip(defects, TASK.parse(text, width, height)[0], strict=True):
        assert before.type == after.type
        for a, b in zip(before.box, after.box, strict=True):
            assert abs(a - b) <= 0.75


def test_crossed_corners_are_put_in_order_and_empty_boxes_left_out() -> None:
    text = '{"verdict":"fail","defects":[{"type":"crack","box":[500,600,100,200]},{"type":"crack","box":[5,5,5,9]}]}'
    assert TASK.parse(text, 1000, 1000) == ((Defect("crack", (100.0, 200.0, 500.0, 600.0)),), None)


@pytest.mark.parametrize("text", ["", "{}", '{"defects": 5}', '{"defects": [{"type": "x"}]}', '{"verdict":"fail","def'])
def test_another_format_is_an_error(text: str) -> None:
    with pytest.raises(AnswerError):
        TASK.parse(text, 10, 10)


@pytest.mark.parametrize(
    ("fail", "unsure", "verdict"),
    [(0.0, 0.0, "pass"), (0.35, 0.0, "pass"), (0.36, 0.0, "unsure"), (0.64, 0.0, "unsure"), (0.65, 0.0, "fail"),
     (0.9, 0.0, "fail"), (0.3, 0.5, "unsure")],
)  # fmt: skip
def test_thresholds(fail: float, unsure: float, verdict: str) -> None:
    probabilities = {"pass": 1 - fail - unsure, "fail": fail, "unsure": unsure}
    assert judge(probabilities, Thresholds(0.35, 0.65), None)[0] == verdict  # type: ignore[arg-type]


def test_a_calibration_moves_the_verdict() -> None:
    probabilities = {"pass": 0.3, "fail": 0.7, "unsure": 0.0}
    assert judge(probabilities, Thresholds(), None)[0] == "fail"  # type: ignore[arg-type]
    verdict, defect = judge(probabilities, Thresholds(), Calibration(1.0, -2.0))  # type: ignore[arg-type]
    assert (verdict, round(defect, 3)) == ("pass", 0.24)
