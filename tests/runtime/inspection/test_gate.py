"""The gate: distances and regions in exact numbers, what it learns of pictures, and the model behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.runtime.chat import Message, Picture, Prompt, Tool
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import DeadlineExceeded, TooFewPictures
from lineside.runtime.inspection import gate_memory
from lineside.runtime.inspection.gate import Gate, hot_region
from lineside.runtime.inspection.gate_memory import learn, picture_score
from lineside.runtime.inspection.gated import ANOMALY, GatedInspector, gate_probability
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import GateObservation
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.patches import to_grid, to_patches
from lineside.runtime.picture import decode_picture
from lineside.runtime.sessions.patch_features import seen_size
from tests.support.gates import features, small, small_memory

BLANK = np.zeros((90, 160, 3), np.uint8)


def test_the_distance_is_to_the_nearest_patch() -> None:
    memory = np.zeros((2, 152), np.float32)
    memory[1, 0] = 1.0
    seen = np.zeros((2, 2, 152), np.float32)
    seen[..., 0] = [[0.1, 0.9], [0.5, 3.0]]
    heat = features().distances(seen, memory, np.square(memory).sum(1))
    np.testing.assert_allclose(heat, [[0.1, 0.1], [0.5, 2.0]], atol=1e-5)
    assert picture_score(heat) == pytest.approx((2.0 + 0.5 + 0.1) / 3, abs=1e-5)


def test_the_region_is_what_hangs_together_around_the_hottest_patch() -> None:
    heat = np.zeros((9, 16), np.float32)
    heat[3, 4:7] = (0.6, 1.0, 0.7)
    heat[8, 15] = 0.9  # hot as well, but elsewhere
    assert hot_region(heat, 0.5, BLANK) == (30.0, 20.0, 80.0, 50.0)
    assert hot_region(np.zeros((9, 16), np.float32), 0.5, BLANK) == (0.0, 0.0, 160.0, 90.0)


def test_features_come_back_in_the_order_of_the_picture(default_engine: Engine) -> None:
    settings = default_engine.bundle.manifest.image
    assert settings is not None
    p = settings.patch_size
    shape = (3, 2 * settings.spatial_merge_size * p, 3 * settings.spatial_merge_size * p)
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    patches, _ = to_patches(pixels, settings)
    grid = to_grid(patches[0], pixels.shape, settings)
    np.testing.assert_array_equal(grid[2, 5], pixels[:, 2 * p : 3 * p, 5 * p : 6 * p].ravel())


def test_a_gate_learns_ten_pictures_and_finds_what_is_new(good: list[Picture]) -> None:
    learnt = learn(features(), good)
    gate = Gate(features(), learnt.memory)
    seen = gate.observe(good[0])
    assert seen.verdict == "pass"
    assert seen.score < learnt.scores[0], "a picture that was learnt is more usual than one that was not"
    stained = good[0].copy()
    cv2.rectangle(stained, (380, 90), (420, 130), (250, 40, 200), -1)
    found = gate.observe(stained)
    assert found.verdict == "fail"
    x0, y0, x1, y1 = found.region
    assert x0 < 400 < x1
    assert y0 < 110 < y1


def test_a_hair_is_seen_on_a_smooth_part() -> None:
    rng = np.random.default_rng(0)
    shades = np.linspace(60, 110, 240)[:, None, None] + rng.normal(0, 2, (12, 240, 240, 3))
    parts = list(shades.clip(0, 255).astype(np.uint8))
    gate = Gate(features(), learn(features(), parts[:10]).memory)
    scratched = parts[10].copy()
    cv2.line(scratched, (100, 90), (112, 130), (190, 190, 190), 1, cv2.LINE_AA)
    found = gate.observe(scratched)
    assert found.verdict == "fail"
    assert gate.observe(parts[11]).verdict != "fail"
    x0, y0, x1, y1 = found.region
    assert x0 < 106 < x1
    assert y0 < 110 < y1


def test_broken_parts_do_not_pass() -> None:
    """Drawn parts that lie anywhere and turned anyhow: the patches of a good one are all known."""
    good, bad = small("washer", 20, False), small("washer", 8, True)
    gate = Gate(features(), learn(features(), good[:12]).memory)
    assert [gate.observe(part).verdict for part in bad].count("pass") == 0
    assert [gate.observe(part).verdict for part in good[12:]].count("fail") == 0


def test_a_bad_picture_among_the_good_ones_is_left_out() -> None:
    good, bad = small("connector", 14, False), small("connector", 4, True)
    learnt = learn(features(), [*good[:6], bad[0], *good[6:12]])
    assert learnt.left_out == [6]
    assert learnt.scores[6] > learnt.memory.fail_above
    gate = Gate(features(), learnt.memory)
    assert gate.observe(bad[0]).verdict == "fail"
    assert gate.observe(bad[2]).verdict == "fail"
    assert gate.observe(good[13]).verdict != "fail"


def test_bad_pictures_that_look_as_good_ones_make_the_gate_pass_nothing() -> None:
    good = small("tile", 14, False)
    learnt = learn(features(), good[:8], good[8:])
    assert not learnt.apart
    gate = Gate(features(), learnt.memory)
    assert all(gate.observe(part).verdict != "pass" for part in good)


def test_what_is_remembered_covers_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few patches in a corner of their own are kept, though a draw by lot would miss them."""
    monkeypatch.setattr(gate_memory, "MAX_PATCHES", 10)
    rng = np.random.default_rng(0)
    crowd, rare = rng.normal(0, 0.1, (1, 500, 152)), rng.normal(5, 0.1, (1, 2, 152))
    patches, owners = gate_memory.remembered([one.astype(np.float32) for one in (crowd, rare)])
    assert len(patches) == 10
    assert 1 in owners


def test_too_few_pictures(good: list[Picture]) -> None:
    with pytest.raises(TooFewPictures, match="4 different good pictures; at least 5"):
        learn(features(), good[:4])


@pytest.fixture
def inspector(default_engine: Engine) -> Inspector:
    return Inspector(default_engine, InspectionTask(("pitting",), part="ball screw"))


def gated(inspector: Inspector, good: list[Picture], *, low: float, high: float) -> GatedInspector:
    """With thresholds set by hand."""
    memory = learn(features(), good[:5]).memory
    return GatedInspector(inspector, Gate(features(), replace(memory, pass_below=low, fail_above=high)))


def score_of(good: list[Picture], picture: Picture) -> float:
    return Gate(features(), learn(features(), good[:5]).memory).observe(picture).score


def test_where_the_gate_is_sure_the_model_is_not_asked(
    inspector: Inspector, default_engine: Engine, good: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_engine, "sequence", lambda *_, **__: pytest.fail("the model was asked"))
    for low, verdict in ((1e4, "pass"), (1e-4, "fail")):
        found = gated(inspector, good, low=low, high=low * 1.1).inspect(good[3])
        assert (found.verdict, found.decided_by) == (verdict, "gate")
        assert found.confidence > 0.97
        assert [defect.type for defect in found.defects] == ([ANOMALY] if verdict == "fail" else [])
        assert found.timings.gate_ms > 0
        assert found.gate is not None


def test_a_doubtful_frame_goes_to_the_model_with_its_region(
    inspector: Inspector, default_engine: Engine, good: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = default_engine.tokenizer.encode_chat

    def listen(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Prompt:
        asked.append(str(messages[-1].content[-1]))
        return encode(messages, tools)

    monkeypatch.setattr(default_engine.tokenizer, "encode_chat", listen)
    score = score_of(good, good[3])
    found = gated(inspector, good, low=score - 1, high=score + 1).inspect(good[3])
    assert found.decided_by == "model"
    assert found.gate is not None
    assert found.gate.verdict is None
    assert asked[-1].startswith("Look at ")


def test_gate_and_model_that_disagree_leave_it_to_a_person(
    inspector: Inspector, good: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "_probabilities", lambda _: {"pass": 0.9, "fail": 0.1, "unsure": 0.0})
    score = score_of(good, good[3])
    nearer_fail = gated(inspector, good, low=score - 3, high=score + 1).inspect(good[3])
    assert (nearer_fail.verdict, nearer_fail.decided_by) == ("unsure", "model")
    assert [defect.type for defect in nearer_fail.defects] == [ANOMALY]
    nearer_pass = gated(inspector, good, low=score - 1, high=score + 3).inspect(good[3])
    assert nearer_pass.verdict == "pass"


def test_probabilities_meet_the_thresholds() -> None:
    own = Gate(features(), small_memory())
    heat = np.zeros((2, 2), np.float32)
    for score, probability in ((own.memory.pass_below, 0.02), (own.memory.fail_above, 0.98), (1e9, 1.0)):
        seen = GateObservation(score, heat, (0, 0, 1, 1), None)
        assert gate_probability(seen, own) == pytest.approx(probability, abs=1e-6)


def test_a_report_is_the_models_and_the_verdict_the_gates(default_engine: Engine, good: list[Picture]) -> None:
    schema = {"type": "object", "properties": {"wear": {"enum": ["low", "high"]}}, "required": ["wear"]}
    reporting = Inspector(default_engine, InspectionTask(("pitting",), part="ball screw", report=schema))
    found = gated(reporting, good, low=1e4, high=2e4).inspect(good[3])
    assert (found.verdict, found.decided_by) == ("pass", "gate")
    assert found.counts.generated > 0
    assert found.report["wear"] in ("low", "high")


def test_what_the_gate_doubts_is_unsure_where_the_model_knows_no_such_part(
    default_engine: Engine, good: list[Picture]
) -> None:
    washer = Inspector(default_engine, InspectionTask(("pitting",), part="washer"))
    doubting = gated(washer, good, low=0.0, high=1e4).inspect(good[3])
    assert (doubting.verdict, doubting.decided_by, doubting.counts.generated) == ("unsure", "gate", 0)
    assert "not washer" in doubting.doubt
    sure = gated(washer, good, low=1e4, high=2e4)
    assert (sure.inspect(good[3]).verdict, sure.not_taught) == ("pass", "")
    assert sure.inspect(np.zeros_like(good[3])).verdict == "unsure"


def test_the_network_sees_whole_patches() -> None:
    for shape, seen in (
        ((380, 550), (384, 272)),
        ((261, 640), (592, 240)),
        ((480, 480), (384, 384)),
        ((40, 90), (96, 32)),
    ):
        assert seen_size(np.zeros((*shape, 3), np.uint8)) == seen
        assert features().describe(np.zeros((*shape, 3), np.uint8)).shape == (seen[1] // 16, seen[0] // 16, 152)


def test_a_deadline_holds_behind_the_gate(inspector: Inspector, good: list[Picture]) -> None:
    score = score_of(good, good[3])
    doubtful = gated(inspector, good, low=score - 1, high=score + 1)
    with pytest.raises(DeadlineExceeded):
        doubtful.inspect(good[3], Request(Priority.FRAME, deadline=0.0))


@pytest.fixture(scope="module")
def good(pictures: list[Path]) -> list[Picture]:
    """One good picture as a camera would see ten of it: moved by a pixel or two, brighter or darker."""
    rng = np.random.default_rng(1)
    picture = decode_picture(pictures[0].read_bytes()).astype(np.float32)
    views = []
    for _ in range(10):
        shift = np.asarray([[1, 0, rng.uniform(-2, 2)], [0, 1, rng.uniform(-2, 2)]])
        size = (picture.shape[1], picture.shape[0])
        moved = cv2.warpAffine(picture, shift, size, borderMode=cv2.BORDER_REPLICATE) * rng.uniform(0.97, 1.03)
        views.append(np.clip(moved + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8))
    return views
