"""One verdict from those of several views."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.frames.part import Part
from lineside.edge.frames.verdicts import combined, verdict_of
from lineside.edge.wire.messages import InspectionResult, Verdict, WireModel, WireTimings
from lineside.edge.wire.views import WireDefect, WireMissing, WireTrigger

MODEL = WireModel(name="m", sha256="0")
AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
PART = Part(
    "eye",
    id="part",
    part_id="A",
    captured_at=AT,
    received=100.0,
    trigger=WireTrigger(id="t", name="eye", at=AT),
    views=(Frame("top", received=100.03), Frame("side", received=99.0)),
)
SIDE = WireMissing(camera="side", code="camera_silent", reason="no frame")


def view(camera: str, verdict: Verdict, fail: float, **keys: object) -> InspectionResult:
    body = {
        "id": camera,
        "camera": camera,
        "captured_at": AT + timedelta(seconds=len(camera)),
        "verdict": verdict,
        "confidence": max(fail, 1 - fail),
        "fail_probability": fail,
        "calibrated": True,
        "defects": [WireDefect(type="pitting", box=(1, 2, 3, 4))] if verdict == "fail" else [],
        "complete": True,
        "model": MODEL,
        "timing_ms": WireTimings(queue=1, gate=0, preprocess=2, vision=30, prefill=4, decode=5, total=50),
        "frame_sha256": camera,
    }
    return InspectionResult.model_validate(body | keys)


def put_together(
    *views: InspectionResult, missing: tuple[WireMissing, ...] = (), part: Part = PART
) -> InspectionResult:
    return combined(part, views, missing, MODEL, [None] * len(views), (100.1, 100.2), 10.0)


@pytest.mark.parametrize("views", list(itertools.product(("pass", "fail", "unsure"), repeat=2)))
def test_fail_where_any_is_and_pass_where_all_are(views: tuple[Verdict, Verdict]) -> None:
    expected = "fail" if "fail" in views else "pass" if views == ("pass", "pass") else "unsure"
    assert verdict_of(views, missing=0) == expected
    assert verdict_of(views, missing=1) == ("fail" if "fail" in views else "unsure")


def test_of_no_view_nothing_is_known() -> None:
    result = put_together(missing=(SIDE,), part=dataclasses.replace(PART, views=()))
    assert not result.complete
    assert (result.verdict, result.confidence, result.fail_probability) == ("unsure", 0.5, 0.5)
    assert (result.captured_at, result.frame_sha256, result.calibrated) == (AT, "", False)
    assert result.doubt == "side: no frame"
    assert result.views == []


def test_probabilities_are_those_of_the_view_that_decides() -> None:
    good = put_together(view("top", "pass", 0.1), view("side", "pass", 0.2))
    assert (good.verdict, good.confidence, good.fail_probability, good.calibrated) == ("pass", 0.8, 0.2, True)
    bad = put_together(view("top", "fail", 0.7), view("side", "fail", 0.9))
    assert (bad.verdict, bad.confidence, bad.fail_probability) == ("fail", 0.9, 0.9)
    missing = put_together(view("top", "pass", 0.1), missing=(SIDE,))
    assert (missing.verdict, missing.confidence, missing.calibrated) == ("unsure", 0.9, False)


def test_defects_say_whose_they_are() -> None:
    result = put_together(view("top", "pass", 0.1), view("side", "fail", 0.9))
    assert [(found.camera, found.type) for found in result.defects] == [("side", "pitting")]
    assert result.views is not None
    assert [found.camera for found in result.views[1].defects] == ["side"]


def test_times_are_those_of_the_part() -> None:
    """A picture from before its trigger was captured at once."""
    timing = put_together(view("top", "pass", 0.1), view("side", "pass", 0.1)).timing_ms
    assert (timing.trigger, timing.queue, timing.vision, timing.total) == (30.0, 70.0, 60.0, 200.0)


def test_whoever_reads_a_result_of_a_camera_reads_this_one() -> None:
    keys = json.loads(view("top", "pass", 0.1).encode()).keys()
    body = json.loads(put_together(view("top", "pass", 0.1), view("side", "fail", 0.9)).encode())
    assert keys <= body.keys()
    assert body.keys() - keys == {"trigger", "views", "missing"}
    assert InspectionResult.model_validate(body).verdict == "fail"


def test_one_camera_keeps_its_report() -> None:
    result = put_together(view("top", "pass", 0.1, report={"screws": 4}))
    assert json.loads(result.encode())["report"] == {"screws": 4}
    assert result.views is not None
    assert result.views[0].report == {"screws": 4}
