"""Score a bundle on what it was trained for: `python -m lineside.export.default_model.scoring.evaluate DATA BUNDLE`.

Camera positions, boards and phrases are held out. `export.evaluation` has tools that no model knows. Needs no torch:
it runs the bundle as the daemon does. Writes its figures to `evaluation.json`, and pictures of its mistakes.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from lineside.export.default_model.data import ballscrew, commands, pcb
from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.scoring.mistakes import draw_mistakes
from lineside.export.default_model.scoring.scores import auroc, balanced_accuracy
from lineside.export.evaluation.cases import held_out_texts
from lineside.runtime.assistant import ask
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.overlap import Matches, match
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Thresholds

SCREW_IOU, BOARD_IOU = 0.3, 0.33
BOARDS = 100
COMMANDS = 300
SEED = 11


@dataclass(frozen=True)
class InspectionScore:
    """Figures on labelled pictures, deciding at a probability of one half.

    Attributes:
        auroc: of the fail probability.
        balanced_accuracy: mean of the hit rates on good and bad pictures.
        false_alarms: share of the good pictures that are failed.
        unsure_rate: pictures between the default thresholds.
        box_recall: labelled defects that some box of the same type covers.
        box_f1: of labelled and found boxes.
        median_ms, p99_ms: of preprocessing, vision, prefill and decoding, on the machine that evaluated.
    """

    pictures: int
    auroc: float | None
    balanced_accuracy: float | None
    false_alarms: float | None
    unsure_rate: float
    box_recall: float
    box_f1: float
    false_boxes_per_picture: float
    median_ms: float
    p99_ms: float


@dataclass(frozen=True)
class CommandScore:
    """Rates on generated commands with phrases that training never saw; `out_of_scope` ones must call nothing."""

    commands: int
    right_tool: float
    right_call: float
    no_call_out_of_scope: float


def inspect_all(engine: Engine, examples: Sequence[Example], task: InspectionTask) -> list[Inspection]:
    """Every example, with one threshold at one half; one with a reference is compared with it."""
    half = Thresholds(0.5, 0.5)
    shared = Inspector(engine, task, half)
    found = []
    for example in track(examples, description="pictures"):
        inspector = shared
        if example.reference is not None:
            inspector = Inspector(engine, replace(task, reference=np.ascontiguousarray(example.reference)), half)
        found.append(inspector.inspect(np.ascontiguousarray(example.picture)))
    return found


def score_inspections(examples: Sequence[Example], found: Sequence[Inspection], least_iou: float) -> InspectionScore:
    """Compare what was found with the labels."""
    default = Thresholds()
    matches = sum((match(e.defects, i.defects, least_iou) for e, i in zip(examples, found, strict=True)), Matches())
    probabilities = np.asarray([inspection.fail_probability for inspection in found])
    bad = np.asarray([bool(example.defects) for example in examples])
    unsure = (probabilities > default.pass_below) & (probabilities < default.fail_above)
    t = [inspection.timings for inspection in found]
    milliseconds = [x.preprocess_ms + x.vision_ms + x.prefill_ms + x.decode_ms for x in t]
    both = bool(bad.any() and not bad.all())
    return InspectionScore(
        pictures=len(examples),
        auroc=round(auroc(probabilities, bad), 4) if both else None,
        balanced_accuracy=round(balanced_accuracy(probabilities, bad, 0.5), 4) if both else None,
        false_alarms=round(float((probabilities[~bad] >= 0.5).mean()), 4) if not bad.all() else None,
        unsure_rate=round(float(unsure.mean()), 4),
        box_recall=round(matches.recall, 4),
        box_f1=round(matches.f1, 4),
        false_boxes_per_picture=round(matches.spurious / len(examples), 4),
        median_ms=round(float(np.median(milliseconds)), 1),
        p99_ms=round(float(np.percentile(milliseconds, 99)), 1),
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


def held_out_screws(data: Path) -> list[Example]:
    """Ball screws of the camera positions that training did not see. They served to choose a recipe."""
    train = ballscrew.load_examples(data / "ballscrew" / "train")
    return [example for example in train if example.position in ballscrew.HELD_OUT]


def held_out_boards(data: Path, count: int = BOARDS) -> list[Example]:
    """Circuit boards that training did not see."""
    examples = [e for e in pcb.load_examples(data / "pcb" / "train") if e.position in pcb.HELD_OUT_BOARDS]
    return examples[:: max(1, len(examples) // count)][:count]


def evaluate(data: Path, bundle: Path, pictures: Path | None = None) -> dict[str, Any]:
    """All scores of a bundle, as plain numbers; `pictures` is a folder for what it got wrong."""
    engine = Engine.open(bundle)
    scores: dict[str, Any] = {}
    screws = held_out_screws(data)
    found = inspect_all(engine, screws, ballscrew.TASK)
    scores["screws"] = asdict(score_inspections(screws, found, SCREW_IOU))
    if pictures is not None:
        draw_mistakes(screws, found, pictures / "screws.jpg")
    boards = held_out_boards(data)
    found = inspect_all(engine, boards, pcb.TASK)
    scores["boards"] = asdict(score_inspections(boards, found, BOARD_IOU))
    if pictures is not None:
        draw_mistakes(boards, found, pictures / "boards.jpg")
    scores["commands"] = asdict(score_commands(engine, sorted(held_out_texts("clinc"))))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with ballscrew/, pcb/ and commands/")
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("evaluation.json"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scores = {
        bundle.name: evaluate(arguments.data, bundle, None if at else arguments.out.parent)
        for at, bundle in enumerate(arguments.bundle)
    }
    arguments.out.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    logging.getLogger("lineside.evaluate").info("%s", json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
