"""Put a scored bundle into the package with its card.

`python -m lineside.export.default_model.scoring.publish CHECKPOINT BUNDLE SCORES COMMANDS BASELINES TARGET`
SCORES is what
`export.default_model.scoring.evaluate` wrote, COMMANDS what `export.evaluation.run` did, BASELINES what
`export.default_model.scoring.baselines` did. BUNDLE may be TARGET: then only card and manifest are written anew.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lineside.export.bundle.writer import write_manifest
from lineside.export.default_model.scoring.evaluate import BOARD_IOU, SCREW_IOU
from lineside.export.evaluation.run import percent
from lineside.export.evaluation.scoring import Rate
from lineside.runtime.bundle import open_bundle, verify_hashes

CARD = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
COMMAND_COLUMNS = (
    "set",
    "a tool fits",
    "right tool",
    "right tool and arguments",
    "nothing called",
    "none fits",
    "wrongly called",
    "right answer",
    "always no call",
)
INSPECTIONS = {"screws": "ball screws", "boards": "circuit boards"}
METRICS = {
    "pictures": "pictures",
    "AUROC": "auroc",
    "balanced accuracy": "balanced_accuracy",
    "good ones failed": "false_alarms",
    "`unsure` at the default thresholds": "unsure_rate",
    "defects with a box": "box_recall",
    "F1 of the boxes": "box_f1",
    "false boxes a picture": "false_boxes_per_picture",
    "median ms": "median_ms",
    "99th percentile ms": "p99_ms",
}
TARGETS = (
    ("AUROC, ball screws", "screws", "auroc", "at least 0.97"),
    ("balanced accuracy, ball screws", "screws", "balanced_accuracy", "at least 0.92"),
    ("defects with a box, ball screws", "screws", "box_recall", "at least 0.8"),
    ("false boxes a picture, ball screws", "screws", "false_boxes_per_picture", "at most 0.3"),
    ("good ones failed, ball screws", "screws", "false_alarms", "at most 0.02"),
    ("F1 of the boxes, circuit boards", "boards", "box_f1", "at least 0.95"),
    ("median ms, ball screws", "screws", "median_ms", "under 120"),
    ("99th percentile ms, ball screws", "screws", "p99_ms", "under 250"),
)
PUBLIC_SETS = ("hwu64", "snips")
SPOKEN_TARGETS = (
    ("right tool, public sets", "right_tool", "at least 90 %"),
    ("right tool and arguments, public sets", "right_call", "at least 75 %"),
)


def card(
    scores: Mapping[str, Mapping[str, Any]],
    spoken: Mapping[str, Any],
    baselines: Mapping[str, Any],
    size: tuple[float, float],
    minutes: int,
    remark: str = "",
) -> str:
    """The model card.

    Args:
        scores: of `export.default_model.scoring.evaluate`.
        spoken: of `export.evaluation.run`.
        baselines: of `export.default_model.scoring.baselines`.
        size: millions of parameters, and megabytes.
    """
    groups = {**spoken["by_source"], "all": spoken["all"]}
    command_rows = [_row(_command_cells(name, group)) for name, group in groups.items()]
    known = scores["default"]["commands"]
    return CARD.format(
        millions=size[0],
        megabytes=size[1],
        minutes=minutes,
        screw_iou=SCREW_IOU,
        board_iou=BOARD_IOU,
        inspection_rows="\n".join(_inspection_rows(scores)),
        baselines=_baseline_text(baselines),
        target_rows="\n".join(_target_rows(scores["default"], groups)),
        cases=spoken["all"]["cases"],
        command_rows="\n".join([_row(COMMAND_COLUMNS), "|---" * len(COMMAND_COLUMNS) + "|", *command_rows]),
        cut_off=spoken["all"]["cut_off"],
        command_ms=round(spoken["all"]["median_ms"]),
        known_tool=known["right_tool"],
        known_call=known["right_call"],
        known_quiet=known["no_call_out_of_scope"],
        remark=f" {remark}" if remark else "",
    )


def _inspection_rows(scores: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    columns = [f"{label}, {name}" for label in INSPECTIONS.values() for name in ("int4", "float32")]
    yield _row(["", *columns])
    yield "|---" * (len(columns) + 1) + "|"
    for label, key in METRICS.items():
        values = [scores[bundle][part][key] for part in INSPECTIONS for bundle in ("default", "float32")]
        yield _row([label, *("-" if value is None else value for value in values)])


def _baseline_text(baselines: Mapping[str, Any]) -> str:
    near, difference = baselines["nearest_neighbours"], baselines["difference"]
    plain, whatever = difference["box_f1"], difference["box_f1_whatever_the_type"]
    return (
        "The five nearest neighbours by EfficientNet-Lite0's frozen features score an AUROC of "
        f"{near['auroc']} and a balanced accuracy of {near['balanced_accuracy']}, and no boxes. The plain difference "
        f"of scan and reference scores an F1 of {plain} ({whatever} whatever the type)."
    )


def _target_rows(scores: Mapping[str, Any], groups: Mapping[str, Any]) -> Iterable[str]:
    for label, part, key, aim in TARGETS:
        yield _row([label, aim, scores[part][key]])
    public = [group for name, group in groups.items() if name.startswith(PUBLIC_SETS)]
    for label, key, aim in SPOKEN_TARGETS:
        hits, cases = (sum(group[key][field] for group in public) for field in ("hits", "of"))
        yield _row([label, aim, f"{hits / max(cases, 1):.0%}"])
    wrong = groups["all"]["wrongly_called"]
    yield _row(["nothing called where no tool fits", "at least 90 %", f"{1 - wrong['hits'] / max(wrong['of'], 1):.0%}"])


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _command_cells(name: str, group: Mapping[str, Any]) -> list[object]:
    rates = {key: Rate(**value) for key, value in group.items() if isinstance(value, dict) and "hits" in value}
    return [
        name,
        rates["right_tool"].of,
        percent(rates["right_tool"]),
        percent(rates["right_call"]),
        percent(rates["not_called"]),
        rates["wrongly_called"].of,
        percent(rates["wrongly_called"]),
        percent(rates["right_answer"]),
        percent(rates["never_calls"]).partition(" ")[0],
    ]


def publish(bundle: Path, card_text: str, target: Path) -> None:
    """Copy the bundle to `target`, with its card, under the name `default`.

    Where it lies there already, what was learnt and calibrated with it goes on being used: only its card changes.
    """
    opened = open_bundle(bundle)
    manifest = opened.manifest
    if bundle.resolve() == target.resolve():
        manifest = replace(manifest, supersedes=(*manifest.supersedes, opened.sha256))
    else:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(bundle, target)
    (target / "model_card.md").write_text(card_text, encoding="utf-8")
    write_manifest(target, manifest)
    verify_hashes(open_bundle(target))


def size_of(checkpoint: Path, bundle: Path) -> tuple[float, float]:
    """Millions of parameters of a checkpoint, and megabytes of a bundle."""
    with safe_open(checkpoint / "model.safetensors", "numpy") as file:
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return parameters / 1e6, sum(path.stat().st_size for path in bundle.iterdir()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("commands", type=Path)
    parser.add_argument("baselines", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--remark", default="", help="a sentence on the held-out commands, for the card")
    arguments = parser.parse_args()
    files = (arguments.scores, arguments.commands, arguments.baselines)
    scores, spoken, baselines = (json.loads(path.read_text(encoding="utf-8")) for path in files)
    minutes = int((arguments.checkpoint / "minutes.txt").read_text())
    size = size_of(arguments.checkpoint, arguments.bundle)
    text = card(scores, spoken, baselines, size, minutes, arguments.remark)
    publish(arguments.bundle, text, arguments.target)


if __name__ == "__main__":
    main()
