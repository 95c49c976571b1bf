"""Examples stand before each picture, and are computed once: a tiny checkpoint of true structure, random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.runtime.chat import Message, Picture
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.inspection.bounds import not_taught
from lineside.runtime.inspection.examples import with_examples
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import Example, InspectionTask
from lineside.runtime.inspection.verdict import Thresholds
from lineside.runtime.inspection_template import InspectionTemplate
from lineside.runtime.manifest import Taught, TaughtPart
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.tokenizers import write_small_tokenizer

PLAIN = InspectionTask(("pitting", "crack"), any_way_up=False)


def picture(seed: int, height: int = 56, width: int = 84) -> Picture:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


EXAMPLES = (Example(picture(1), "pass"), Example(picture(2, 84, 60), "fail", "A crack at the edge."))
SHOWN = replace(PLAIN, examples=EXAMPLES)


def engine_of(bundle: Path) -> Engine:
    return Engine.open(bundle, threads=1, limits=Limits(capacity=2048))


def test_each_is_a_turn_with_as_much_of_the_answer_as_is_known() -> None:
    frame = picture(9)
    system, *shown, last = SHOWN.messages(frame)
    assert system.role == "system"
    assert last.content == (frame,)
    assert [turn.role for turn in shown] == ["user", "assistant"] * 2
    assert shown[0].content == (EXAMPLES[0].picture,)
    assert shown[2].content == (EXAMPLES[1].picture, "A crack at the edge.")
    assert [turn.content[0] for turn in shown[1::2]] == ['{"verdict":"pass","defects":[]}', '{"verdict":"fail"}']


def test_a_line_is_the_reasoning_where_there_is_one() -> None:
    task = replace(SHOWN, template=InspectionTemplate(reasoning_characters=7))
    _, good, shown, bad = task.messages(picture(9))[1:-1]
    assert shown.content == (EXAMPLES[1].picture,)
    assert list(json.loads(str(good.content[0]))) == ["verdict", "defects"]
    assert json.loads(str(bad.content[0])) == {"reasoning": "A crack", "verdict": "fail"}


@pytest.mark.parametrize("version", ["v3", "v7", "v11", "v13"])
def test_the_prefix_is_all_before_the_picture(version: str, tmp_path: Path) -> None:
    write_small_tokenizer(tmp_path / "tekken.json", version)
    tokenizer, frame = Tokenizer(tmp_path / "tekken.json"), picture(9, 70, 40)
    prefix, _ = with_examples(tokenizer, SHOWN)
    whole, alone = (tokenizer.encode_chat(task.messages(frame)) for task in (SHOWN, PLAIN))
    begin = int(np.flatnonzero(alone.ids == tokenizer.special_id("[IMG]"))[0])
    np.testing.assert_array_equal(np.concatenate([prefix.ids, alone.ids[begin:]]), whole.ids)
    assert len(prefix.pixels) == 2


def test_a_frame_computes_only_what_is_its_own(random_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(random_bundle)
    vision = engine.vision_cache
    assert vision is not None
    looked: list[tuple[int, ...]] = []
    embed = vision._vision.embed

    def counted(pixels: np.ndarray) -> np.ndarray:
        looked.append(pixels.shape)
        return embed(pixels)

    monkeypatch.setattr(vision._vision, "embed", counted)
    inspector = Inspector(engine, SHOWN)
    assert len(looked) == 2, "the examples, once"
    prefix = len(with_examples(engine.tokenizer, inspector.task)[0].ids)
    for seed in range(10, 14):
        assert inspector.inspect(picture(seed)).counts.reused == prefix
    assert len(looked) == 6


def test_nothing_else_takes_their_place(random_bundle: Path) -> None:
    """Frames of all sizes, reports, commands and another camera, in a pool that holds two of the longest prompts."""
    engine = engine_of(random_bundle)
    inspector = Inspector(engine, replace(SHOWN, report={"type": "boolean"}), Thresholds(0.0, 0.0))
    other = Inspector(engine, replace(PLAIN, instruction="Another camera."))
    prefix = len(with_examples(engine.tokenizer, replace(inspector.task, report=None))[0].ids)
    for seed in range(10, 22):
        found = inspector.inspect(picture(seed, 40 + 12 * seed % 180, 60))
        assert found.observations[0].counts.reused >= prefix
        other.inspect(picture(seed))
        command = engine.tokenizer.encode_chat([Message("user", (f"{seed} " * 200,))])
        with engine.sequence(command, reserve=engine.capacity - len(command.ids)):
            pass
    assert engine.pool.statistics().evictions > 0


def test_the_probability_is_the_same_with_and_without_the_cache(float_bundle: Path) -> None:
    engine = engine_of(float_bundle)
    inspector, frame = Inspector(engine, SHOWN), picture(9)
    kept = inspector.probabilities(frame)
    engine.pool.clear()
    asked = engine.tokenizer.encode_chat(inspector.task.messages(frame))
    whole = replace(asked, ids=np.concatenate([asked.ids, engine.tokenizer.encode_text('{"verdict":"')]))
    with engine.sequence(whole, reserve=1) as sequence:
        assert sequence.counts.reused == 0
        anew = inspector._probabilities(sequence.logits)
    assert kept == pytest.approx(anew, abs=1e-4)
    assert Inspector(engine, PLAIN).probabilities(frame) != pytest.approx(anew, abs=1e-3), "they count"


def test_reasoning_comes_behind_them(random_bundle: Path) -> None:
    engine = engine_of(random_bundle)
    inspector = Inspector(engine, replace(SHOWN, template=InspectionTemplate(reasoning_characters=40)))
    prefix = len(with_examples(engine.tokenizer, inspector.task)[0].ids)
    for seed in (10, 11):
        found = inspector.inspect(picture(seed))
        assert (found.counts.reused, found.complete) == (prefix, True)
        assert found.counts.generated > 0


def test_a_model_that_was_taught_parts_was_not_taught_examples() -> None:
    screws = Taught((TaughtPart("ball screw"),))
    assert not_taught(screws, replace(PLAIN, part="ball screw")) == ""
    assert "`examples`" in not_taught(screws, replace(SHOWN, part="ball screw"))
    assert not_taught(Taught(), SHOWN) == ""
