"""Figures of the default model, and the card that tells them."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.export.default_model.data import ballscrew
from lineside.export.default_model.scoring.evaluate import SCREW_IOU, inspect_all, score_inspections
from lineside.export.default_model.scoring.publish import card
from lineside.export.default_model.scoring.scores import auroc
from lineside.export.evaluation.cases import load_cases
from lineside.export.evaluation.run import report
from lineside.export.evaluation.scoring import Outcome
from lineside.runtime.chat import ToolCall
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from tests.conftest import ROOT

SCREWS = ROOT / "deploy/stations/ballscrew"


def test_figures() -> None:
    scores, positive = np.asarray([0.1, 0.4, 0.4, 0.9]), np.asarray([False, False, True, True])
    assert auroc(scores, positive) == pytest.approx(3.5 / 4)


def test_the_default_model_beats_always_pass_on_the_demo(
    examples: list[ballscrew.Example], default_engine: Engine
) -> None:
    """Its figures are in the card, measured on more; this notices a model that was swapped or damaged."""
    found = inspect_all(default_engine, examples, ballscrew.TASK)
    score = score_inspections(examples, found, SCREW_IOU)
    assert score.balanced_accuracy is not None
    assert score.balanced_accuracy >= 0.75
    assert score.auroc is not None
    assert score.auroc >= 0.85


def test_the_card_tells_what_was_scored() -> None:
    inspection = {"pictures": 10, "auroc": 0.91, "balanced_accuracy": 0.8, "false_alarms": 0.05, "unsure_rate": 0.1,
                  "box_recall": 0.5, "box_f1": 0.6, "false_boxes_per_picture": 0.2, "median_ms": 40.0,
                  "p99_ms": 90.0}  # fmt: skip
    board = {**inspection, "auroc": None, "box_f1": 0.31}
    known = {"right_tool": 0.99, "right_call": 0.95, "no_call_out_of_scope": 0.7}
    own = {"screws": inspection, "boards": board, "commands": known}
    scores = {"default": own, "float32": {**own, "screws": {**inspection, "auroc": 0.92}}}
    near = {"auroc": 0.94, "balanced_accuracy": 0.92}
    baselines = {"nearest_neighbours": near, "difference": {"box_f1": 0.16, "box_f1_whatever_the_type": 0.49}}
    case = next(case for case in load_cases() if case.expected is None)
    public = next(case for case in load_cases() if case.source == "hwu64" and case.expected is not None)
    assert public.expected is not None
    right = ToolCall("1", public.expected.name, {})
    outcomes = [Outcome(case, (), False, "", 7.4), Outcome(public, (right,), False, "", 7.4)]
    text = card(scores, report(outcomes), baselines, (47.8, 39.9), 120, "It says nothing.")
    assert "| AUROC | 0.91 | 0.92 | - | - |" in text
    assert "| F1 of the boxes, circuit boards | at least 0.95 | 0.31 |" in text
    assert "| right tool, public sets | at least 90 % | 100% |" in text
    assert "an AUROC of 0.94 and a balanced accuracy of 0.92" in text
    assert "| own en | 0 | - | - | - | 1 | 0 [0-79] | 100 [21-100] | 100 |" in text
    assert "Answers cut off: 0; median time: 7 ms." in text
    assert "47.8 million parameters,\n39.9 MB" in text
    assert "It says nothing." in text
    shipped = (DEFAULT_BUNDLE / "model_card.md").read_text()
    assert "balanced accuracy" in shipped
    assert "CC BY-SA 4.0" in shipped
