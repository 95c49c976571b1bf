"""The prompt and the order of the answer are a template: the default is what the default model was taught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.reasoning import Reasoner
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import fail_probability
from lineside.runtime.inspection_template import InspectionTemplate

TASK = InspectionTask(("pitting", "crack"), "Be strict.", report={"type": "boolean"})
THINKING = InspectionTemplate("Find {defects}; think first.", reasoning_characters=40)


@pytest.fixture
def picture() -> Picture:
    return np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)


def test_the_default_text_is_what_it_was(picture: Picture) -> None:
    task = replace(TASK, reference=picture, tinted=True)
    assert task.system_text() == (
        "Inspect the part for: pitting, crack. Answer in JSON: verdict pass, fail or unsure, defects with type and box "
        "x0, y0, x1, y1 from 0 to 999. The first picture shows how the part should be; find what differs in the second."
        " There red is brighter than it should be, and blue darker. Then report, as this JSON Schema says: "
        '{"type": "boolean"} Be strict.'
    )
    assert list(TASK.properties()) == ["verdict", "defects", "report"]


def test_a_station_may_replace_it() -> None:
    task = replace(TASK, template=THINKING, report=None)
    assert task.system_text() == "Find pitting, crack; think first. Be strict."
    assert list(task.properties()) == ["reasoning", "verdict", "defects"]


def test_the_verdict_comes_from_the_logits_behind_the_reasoning(random_engine: Engine, picture: Picture) -> None:
    inspector = Inspector(random_engine, replace(TASK, template=THINKING))
    found, own = inspector.inspect(picture), inspector.probabilities(picture)
    assert sum(own.values()) == pytest.approx(1)
    assert 0 < found.fail_probability < 1
    assert found.fail_probability == pytest.approx(fail_probability(own), abs=0.02)
    assert found.counts.generated > 0
    plain = Inspector(random_engine, TASK).probabilities(picture)
    assert fail_probability(plain) != pytest.approx(fail_probability(own), abs=0.001)


def test_reasoning_is_bounded_and_ends_before_the_verdict(random_engine: Engine, picture: Picture) -> None:
    task = replace(TASK, template=THINKING)
    reasoner, tokenizer = Reasoner(random_engine, task), random_engine.tokenizer
    chat = tokenizer.encode_chat(task.messages(picture))
    prompt = replace(chat, ids=np.concatenate([chat.ids, reasoner.prefix]))
    with random_engine.sequence(prompt, reserve=reasoner.most_tokens) as sequence:
        begun, reason = reasoner.begin(sequence)
        written = tokenizer.decode(begun)
        logits = sequence.logits.copy()
    assert reason == "stop"
    assert written.startswith('{"reasoning":"')
    assert written.endswith('","verdict":"')
    assert len(written) <= len('{"reasoning":"') + 6 * 40 + len('","verdict":"')
    random_engine.pool.clear()
    again = replace(chat, ids=np.concatenate([chat.ids, begun]))
    with random_engine.sequence(again, reserve=1) as sequence:
        assert np.abs(sequence.logits - logits).max() < 0.05 * np.abs(logits).max() + 1e-3
