"""The gate: distances, regions and thresholds in exact numbers, and the default model's tower on real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from lineside.runtime.chat import Message, Picture, Prompt, Tool
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import DeadlineExceeded, TooFewPictures
from lineside.runtime.inspection import gate
from lineside.runtime.inspection.gate import Gate, GateMemory, distances, hot_region, learn, picture_score
from lineside.runtime.inspection.gated import ANOMALY, GatedInspector, gate_probability
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import GateObservation
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.picture import decode_picture, to_grid, to_patches, to_pixels

BLANK = np.zeros((90, 160, 3), np.uint8)


def described(values: list[list[float]]) -> npt.NDArray[np.float32]:
    """One channel of features, and no place."""
    grid = np.asarray(values, np.float32)
    return np.stack([grid, np.zeros_like(grid), np.zeros_like(grid)], -1)


def test_the_distance_is_to_the_closest_patch() -> None:
    memory = gate.flat(described([[0.0, 1.0]]))
    heat = distances(described([[0.1, 0.9], [0.5, 3.0]]), memory, np.square(memory).sum(1))
    np.testing.assert_allclose(heat, [[0.1, 0.1], [0.5, 2.0]], atol=1e-6)
    assert picture_score(heat) == pytest.approx((2.0 + 0.5 + 0.1) / 3)


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


def test_a_gate_learns_ten_pictures_and_finds_what_is_new(default_engine: Engine, good: list[Picture]) -> None:
    memory = learn(default_engine, good)
    seen = Gate(default_engine, memory).observe(good[0])
    assert seen.verdict == "pass"
    assert seen.score < memory.good_scores[0], "a picture that was learnt is more usual than one that was not"
    stained = good[0].copy()
    cv2.rectangle(stained, (360, 80), (440, 160), (250, 40, 200), -1)
    found = Gate(default_engine, memory).observe(stained)
    assert found.score > memory.good_scores.max()
    x0, y0, x1, y1 = found.region
    assert x0 < 400 < x1
    assert y0 < 120 < y1


def test_a_hair_is_seen_on_a_smooth_part(default_engine: Engine) -> None:
    """On a part that the tower never saw."""
    rng = np.random.default_rng(0)
    shades = np.linspace(60, 110, 240)[:, None, None] + rng.normal(0, 2, (12, 240, 240, 3))
    parts = list(shades.clip(0, 255).astype(np.uint8))
    memory = learn(default_engine, parts[:10])
    scratched = parts[10].copy()
    cv2.line(scratched, (100, 90), (112, 130), (190, 190, 190), 1, cv2.LINE_AA)
    found = Gate(default_engine, memory).observe(scratched)
    assert found.score > max(memory.good_scores.max(), Gate(default_engine, memory).observe(parts[11]).score)
    x0, y0, x1, y1 = found.region
    assert x0 < 106 < x1
    assert y0 < 110 < y1


def test_place_counts(default_engine: Engine, good: list[Picture]) -> None:
    """The same part upside down has the same patches, but not where they belong."""
    memory = learn(default_engine, good)
    turned = np.ascontiguousarray(good[0][::-1, ::-1])
    assert Gate(default_engine, memory).observe(turned).score > memory.good_scores.max()


def test_too_few_pictures(default_engine: Engine, good: list[Picture]) -> None:
    with pytest.raises(TooFewPictures, match="4 different good pictures; at least 5"):
        learn(default_engine, good[:4])


@pytest.fixture
def inspector(default_engine: Engine) -> Inspector:
    return Inspector(default_engine, InspectionTask(("pitting",), part="ball screw"))


def gated(inspector: Inspector, engine: Engine, good: list[Picture], *, middle: float, spread: float) -> GatedInspector:
    """With thresholds set by hand: the gate is sure below `middle` and above `middle + 8 * spread`; a spread that is a
    smaller share of `middle` than `MIN_SPREAD` counts as that share."""
    memory = learn(engine, good)
    scores = np.asarray([middle - spread / 2**0.5, middle + spread / 2**0.5], np.float32)
    return GatedInspector(inspector, Gate(engine, GateMemory(memory.patches, scores, memory.longest)))


def test_where_the_gate_is_sure_the_model_is_not_asked(
    inspector: Inspector, default_engine: Engine, good: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_engine, "sequence", lambda *_, **__: pytest.fail("the model was asked"))
    for middle, verdict in ((100.0, "pass"), (1e-4, "fail")):
        found = gated(inspector, default_engine, good, middle=middle, spread=1e-6).inspect(good[3])
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
    score = Gate(default_engine, learn(default_engine, good)).observe(good[3]).score
    found = gated(inspector, default_engine, good, middle=score - 0.1, spread=0.1).inspect(good[3])
    assert found.decided_by == "model"
    assert found.gate is not None
    assert found.gate.verdict is None
    assert asked[-1].startswith("Look at ")


def test_gate_and_model_that_disagree_leave_it_to_a_person(
    inspector: Inspector, default_engine: Engine, good: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "_probabilities", lambda _: {"pass": 0.9, "fail": 0.1, "unsure": 0.0})
    score = Gate(default_engine, learn(default_engine, good)).observe(good[3]).score
    nearer_fail = gated(inspector, default_engine, good, middle=score - 0.5, spread=0.1).inspect(good[3])
    assert (nearer_fail.verdict, nearer_fail.decided_by) == ("unsure", "model")
    assert [defect.type for defect in nearer_fail.defects] == [ANOMALY]
    nearer_pass = gated(inspector, default_engine, good, middle=score - 0.2, spread=0.1).inspect(good[3])
    assert nearer_pass.verdict == "pass"


def test_probabilities_meet_the_thresholds(default_engine: Engine, good: list[Picture]) -> None:
    own = Gate(default_engine, learn(default_engine, good))
    heat = np.zeros((2, 2), np.float32)
    for score, probability in ((own.memory.pass_below, 0.02), (own.memory.fail_above, 0.98), (1e9, 1.0)):
        seen = GateObservation(score, heat, (0, 0, 1, 1), None)
        assert gate_probability(seen, own) == pytest.approx(probability, abs=1e-6)


def test_a_report_is_the_models_and_the_verdict_the_gates(default_engine: Engine, good: list[Picture]) -> None:
    schema = {"type": "object", "properties": {"wear": {"enum": ["low", "high"]}}, "required": ["wear"]}
    reporting = Inspector(default_engine, InspectionTask(("pitting",), part="ball screw", report=schema))
    found = gated(reporting, default_engine, good, middle=100.0, spread=1e-6).inspect(good[3])
    assert (found.verdict, found.decided_by) == ("pass", "gate")
    assert found.counts.generated > 0
    assert found.report["wear"] in ("low", "high")


def test_what_the_gate_doubts_is_unsure_where_the_model_knows_no_such_part(
    default_engine: Engine, good: list[Picture]
) -> None:
    washer = Inspector(default_engine, InspectionTask(("pitting",), part="washer"))
    doubting = gated(washer, default_engine, good, middle=0.0, spread=1e6).inspect(good[3])
    assert (doubting.verdict, doubting.decided_by, doubting.counts.generated) == ("unsure", "gate", 0)
    assert "not washer" in doubting.doubt
    sure = gated(washer, default_engine, good, middle=100.0, spread=1e-6)
    assert (sure.inspect(good[3]).verdict, sure.not_taught) == ("pass", "")
    assert sure.inspect(np.zeros_like(good[3])).verdict == "unsure"


def test_pixels_for_the_gate_are_whole_tokens(default_engine: Engine) -> None:
    settings = default_engine.bundle.manifest.image
    assert settings is not None
    side = settings.patch_size * settings.spatial_merge_size
    for shape in ((261, 640, 3), (3, 2000, 3), (480, 480, 3)):
        pixels = to_pixels(np.zeros(shape, np.uint8), 384, settings)
        assert pixels.shape[1] % side == pixels.shape[2] % side == 0
        assert abs(max(pixels.shape) - 384) <= side / 2
        assert pixels.dtype == np.float32


def test_a_deadline_holds_behind_the_gate(inspector: Inspector, default_engine: Engine, good: list[Picture]) -> None:
    score = Gate(default_engine, learn(default_engine, good)).observe(good[3]).score
    doubtful = gated(inspector, default_engine, good, middle=score - 0.1, spread=0.1)
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
