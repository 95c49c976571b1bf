"""Score a bundle on what it was trained for: `python -m export.default_model.evaluate DATA BUNDLE`.

Pictures and phrases are held out; the tools are those of training. `export.evaluation` has tools that no model knows.
Needs no torch: it runs the bundle as the daemon does. Writes its figures to `evaluation.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from export.default_model import ballscrew, commands
from export.evaluation.cases import held_out_texts
from runtime.assistant import ask
from runtime.engine import Engine
from runtime.inspection import Defect
from runtime.inspector import Inspector, Thresholds
from runtime.sampling import GREEDY

IOU_MATCH = 0.3
COMMANDS = 300
SEED = 11


@dataclass(frozen=True)
class InspectionScore:
    """Figures on labelled pictures.

    Attributes:
        auroc: of the fail probability.
        balanced_accuracy: mean of the hit rates on good and bad pictures, deciding at a probability of one half.
        balanced_accuracy_always_pass: what answering `pass` to everything scores.
        unsure_rate: pictures between the default thresholds.
        box_recall: labelled defects that some box covers with IoU >= 0.3, on pictures answered at one half.
        false_boxes_per_picture: boxes that cover no labelled defect.
        median_ms: of preprocessing, vision, prefill and decoding, on the machine that evaluated.
    """

    pictures: int
    auroc: float
    balanced_accuracy: float
    balanced_accuracy_always_pass: float
    unsure_rate: float
    box_recall: float
    false_boxes_per_picture: float
    median_ms: float


@dataclass(frozen=True)
class CommandScore:
    """Rates on generated commands with phrases that training never saw; `out_of_scope` ones must call nothing."""

    commands: int
    right_tool: float
    right_call: float
    no_call_out_of_scope: float


def score_inspection(engine: Engine, examples: Sequence[ballscrew.Example]) -> InspectionScore:
    """Inspect every example, with one threshold at one half."""
    inspector = Inspector(engine, ballscrew.TASK, Thresholds(0.5, 0.5))
    default = Thresholds()
    probabilities, milliseconds = [], []
    hits = labelled = false_boxes = unsure = 0
    for example in track(examples, description="pictures"):
        inspection = inspector.inspect(example.picture)
        probabilities.append(inspection.fail_probability)
        t = inspection.timings
        milliseconds.append(t.preprocess_ms + t.vision_ms + t.prefill_ms + t.decode_ms)
        unsure += default.pass_below < inspection.fail_probability < default.fail_above
        matched = [max((iou(d, p) for p in inspection.defects), default=0.0) for d in example.defects]
        hits += sum(value >= IOU_MATCH for value in matched)
        labelled += len(example.defects)
        false_boxes += sum(all(iou(d, p) < IOU_MATCH for d in example.defects) for p in inspection.defects)
    bad = np.asarray([bool(example.defects) for example in examples])
    scores = np.asarray(probabilities)
    balanced = float(((scores[bad] >= 0.5).mean() + (scores[~bad] < 0.5).mean()) / 2)
    return InspectionScore(
        pictures=len(examples),
        auroc=round(auroc(scores, bad), 4),
        balanced_accuracy=round(balanced, 4),
        balanced_accuracy_always_pass=0.5,
        unsure_rate=round(unsure / len(examples), 4),
        box_recall=round(hits / max(labelled, 1), 4),
        false_boxes_per_picture=round(false_boxes / len(examples), 4),
        median_ms=round(float(np.median(milliseconds)), 1),
    )


def score_commands(engine: Engine, scope_free: Sequence[str]) -> CommandScore:
    """Greedy answers to commands made of the test phrases."""
    rng = np.random.default_rng(SEED)
    tool = call = called = silent = quiet = 0
    for _ in track(range(COMMANDS), description="commands"):
        command = commands.make_command(rng, commands.TEST_PHRASES, list(scope_free))
        answer = ask(engine, commands.command_messages(command.text), command.tools, sampling=GREEDY, max_tokens=64)
        if command.call is None:
            silent += 1
            quiet += not answer.calls
            continue
        called += 1
        first = answer.calls[0] if len(answer.calls) == 1 else None
        tool += first is not None and first.name == command.call.name
        right = first is not None and (first.name, first.arguments) == (command.call.name, command.call.arguments)
        call += right
    return CommandScore(COMMANDS, round(tool / called, 4), round(call / called, 4), round(quiet / max(silent, 1), 4))


def auroc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    above = (scores[positive][:, None] > scores[~positive][None]).mean()
    equal = (scores[positive][:, None] == scores[~positive][None]).mean()
    return float(above + 0.5 * equal)


def iou(a: Defect, b: Defect) -> float:
    """Intersection over union of two boxes."""
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((d.box[2] - d.box[0]) * (d.box[3] - d.box[1]) for d in (a, b))
    return width * height / (areas - width * height)


def evaluate(data: Path, bundle: Path) -> dict[str, dict[str, float]]:
    """Both scores of a bundle, as plain numbers."""
    engine = Engine.open(bundle)
    examples = ballscrew.load_examples(data / "ballscrew" / "dev")
    return {
        "inspection": asdict(score_inspection(engine, examples)),
        "commands": asdict(score_commands(engine, sorted(held_out_texts("clinc")))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with ballscrew/ and commands/")
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("evaluation.json"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scores = {bundle.name: evaluate(arguments.data, bundle) for bundle in arguments.bundle}
    arguments.out.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    logging.getLogger("lineside.evaluate").info("%s", json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
