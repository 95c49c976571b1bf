"""The recipe of the default model: its data and figures. Training itself needs torch and is run by `make model`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.default_model import ballscrew, commands
from export.default_model.batches import IGNORE, command_batch, inspection_batch
from export.default_model.evaluate import auroc, iou, score_inspection
from export.default_model.publish import card
from export.default_model.vocabulary import write_tokenizer
from export.evaluation.cases import held_out_texts, load_cases
from export.evaluation.run import report
from export.evaluation.scoring import Outcome
from runtime.bundle import DEFAULT_BUNDLE
from runtime.engine import Engine
from runtime.inspection import Defect
from runtime.picture import decode_picture
from runtime.tokenizer import Tokenizer
from runtime.tool_calls import parse_tool_calls
from tests.conftest import ROOT

SCREWS = ROOT / "deploy/stations/ballscrew"


@pytest.fixture(scope="module")
def examples() -> list[ballscrew.Example]:
    labels = json.loads((SCREWS / "labels.json").read_text())
    return [
        ballscrew.Example(
            name,
            "p",
            decode_picture((SCREWS / "pictures" / name).read_bytes()),
            tuple(Defect(d["type"], tuple(d["box"])) for d in label["defects"]),
        )
        for name, label in labels.items()
    ]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tekken.json"
    write_tokenizer(path, max_image_size=448)
    return Tokenizer(path)


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_commands_are_right_and_never_leak_a_test_phrase(seed: int) -> None:
    test_phrases = {phrase for phrases in commands.TEST_PHRASES.values() for phrase in phrases if "{" not in phrase}
    command = commands.make_command(np.random.default_rng(seed), commands.TRAIN_PHRASES, ["who are you"])
    assert command.text not in test_phrases
    offered = {tool.name: tool for tool in command.tools}
    assert len(offered) == len(command.tools) > 0
    if command.call is not None:
        jsonschema.validate(dict(command.call.arguments), offered[command.call.name].parameters)


def test_training_leaves_out_what_the_evaluation_keeps(tmp_path: Path) -> None:
    kept = sorted(held_out_texts("clinc"))
    lines = [json.dumps({"text": text}) for text in [*kept, "how tall is a giraffe"]]
    (tmp_path / "clinc_oos_train.jsonl").write_text("\n".join(lines))
    assert commands.out_of_scope(tmp_path) == ["how tall is a giraffe"]


def test_no_phrase_is_in_both_sets() -> None:
    for key, phrases in commands.TEST_PHRASES.items():
        assert not set(phrases) & set(commands.TRAIN_PHRASES[key])


def test_labels_stand_one_before_their_tokens(tokenizer: Tokenizer, examples: list[ballscrew.Example]) -> None:
    rng = np.random.default_rng(0)
    said = [commands.make_command(rng, commands.TRAIN_PHRASES, ["who are you"]) for _ in range(6)]
    batch = command_batch(said, tokenizer)
    for row, command in enumerate(said):
        at = np.flatnonzero(batch.labels[row] != IGNORE)
        np.testing.assert_array_equal(batch.ids[row, at + 1], batch.labels[row, at])
        _, calls = parse_tool_calls(tokenizer, batch.labels[row, at].tolist())
        assert [(c.name, c.arguments) for c in calls] == (
            [(command.call.name, command.call.arguments)] if command.call else []
        )
    same_size = [example for example in examples if example.picture.shape == examples[0].picture.shape]
    pictures = inspection_batch(same_size, tokenizer)
    assert pictures.pixels is not None
    assert pictures.defect_map is not None
    for row, example in enumerate(same_size):
        answer = tokenizer.decode(pictures.labels[row][pictures.labels[row] != IGNORE])
        assert json.loads(answer)["verdict"] == example.verdict
        assert bool(pictures.defect_map[row].any()) == bool(example.defects)
        weighted = pictures.ids[row, np.flatnonzero(pictures.weights[row] > 1) + 1]
        assert example.verdict.startswith(tokenizer.decode(weighted))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_augmented_boxes_stay_inside(examples: list[ballscrew.Example], seed: int) -> None:
    rng = np.random.default_rng(seed)
    donors = [example for example in examples if example.defects]
    varied = ballscrew.augment(examples[seed % len(examples)], donors, rng)
    height, width = varied.picture.shape[:2]
    assert varied.picture.dtype == np.uint8
    for defect in varied.defects:
        x0, y0, x1, y1 = defect.box
        assert -1 <= x0 < x1 <= width + 1
        assert -1 <= y0 < y1 <= height + 1


def test_figures() -> None:
    scores, positive = np.asarray([0.1, 0.4, 0.4, 0.9]), np.asarray([False, False, True, True])
    assert auroc(scores, positive) == pytest.approx(3.5 / 4)
    a, b = Defect("x", (0, 0, 10, 10)), Defect("x", (5, 0, 15, 10))
    assert iou(a, b) == pytest.approx(50 / 150)
    assert iou(a, Defect("x", (20, 20, 30, 30))) == 0.0


def test_the_default_model_beats_always_pass_on_the_demo(examples: list[ballscrew.Example]) -> None:
    """Its figures are in the card, measured on more; this notices a model that was swapped or damaged."""
    score = score_inspection(Engine.open(DEFAULT_BUNDLE), examples)
    assert score.balanced_accuracy >= 0.75
    assert score.auroc >= 0.85


def test_the_card_tells_what_was_scored() -> None:
    inspection = {"auroc": 0.91, "balanced_accuracy": 0.8, "unsure_rate": 0.1, "box_recall": 0.5,
                  "false_boxes_per_picture": 0.2, "median_ms": 40.0}  # fmt: skip
    spoken = {"right_tool": 0.6, "right_call": 0.4, "no_call_out_of_scope": 0.7}
    scores = {"default": {"inspection": inspection, "commands": spoken}}
    scores["float32"] = {"inspection": {**inspection, "auroc": 0.92}, "commands": spoken}
    case = next(case for case in load_cases() if case.expected is None)
    text = card(scores, report([Outcome(case, (), False, "", 7.4)]), 12, "It says nothing.")
    assert "| AUROC | 0.91 | 0.92 | 0.5 |" in text
    assert "| own en | 0 | - | - | - | 1 | 0 [0-79] | 100 [21-100] | 100 |" in text
    assert "Answers cut off: 0; median time: 7 ms." in text
    assert "It says nothing." in text
    shipped = (DEFAULT_BUNDLE / "model_card.md").read_text()
    assert "balanced accuracy" in shipped
    assert "CC BY-SA 4.0" in shipped
