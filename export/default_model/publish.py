"""Put a scored bundle into the package with its card.

`python -m export.default_model.publish BUNDLE SCORES COMMANDS TARGET`; SCORES is what `export.default_model.evaluate`
wrote, COMMANDS what `export.evaluation.run` did. BUNDLE may be TARGET: then only card and manifest are written anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from export.bundle_writer import write_manifest
from export.evaluation.run import percent
from export.evaluation.scoring import Rate
from runtime.bundle import open_bundle, verify_hashes

CARD = """# Lineside default model, version 0

A small Mistral3 network (Pixtral-style vision tower, patch merger, Mistral decoder; 7.1 million parameters) that
inspects ball-screw surfaces for pitting and turns commands for a small production line into function calls. It ships
in the package so that Lineside runs on the first try. It was trained from scratch, on two CPU cores in {minutes}
minutes, by `make model`.

## What it scores

On pictures of two camera positions that training never saw, and on commands in phrases that training never saw (their
tools it knew). `int4` is what ships; `float32` are the same weights before rounding.

| | int4 | float32 | always `pass` |
|---|---|---|---|
{rows}

Balanced accuracy decides at a probability of one half. A box counts as found at an IoU of {iou} or more. The time is
the median of preprocessing, vision, prefill and decoding on the two CPU cores that evaluated.

## Tools and languages it was not trained for

{cases} commands with tools that are no part of its training, scored by `make evaluate`; the cases and their sources are
in `export/evaluation`. `own` was written for Lineside, the same commands in four languages, each with the
ten tools of its domain; the other sets are public and English. It answers greedily, as the daemon asks it.

{command_rows}

Rates in percent, 95 % intervals in brackets. "Nothing called" is over the cases where a tool fits, "wrongly called"
over those where none does. "Right answer" is over all: the right call, or none where none fits; "always no call" is
what never calling would score there. Answers cut off: {cut_off}; median time: {command_ms} ms. Training knew ten tools,
and English phrases only.{remark}

## What it was made from

- pictures: BSData (Schlagenhauf, Landwehr, Fleischer; KIT), CC BY-SA 4.0; 690 for training, 138 for the scores;
  resized and re-encoded, labels reduced to boxes. The weights are offered under the same licence, CC BY-SA 4.0.
- commands: generated from the templates in `export/default_model/phrases.toml`; what no tool fits from clinc/oos-eval
  (Larson et al.), CC BY 3.0.
- tokenizer: the first 4,032 merges of the Tekken vocabulary in mistral-common (Apache-2.0).

## What it must not be used for

- Any part other than the ball screws it saw. A new part or a new camera position needs training, or at least a check
  on labelled pictures: the probability of a defect is not calibrated, and lighting it has not seen shifts it.
- Commands where a wrong call does harm. On phrases it does not know it calls the wrong tool, or with the wrong
  arguments, far too often (see the table); allow it nothing that you would not let a stranger do, and rely on the
  station file's policy.
- Tools of your own, languages other than English, and conversation: see above. Train a model, or bring one.
"""
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
METRICS = {
    "AUROC": ("inspection", "auroc", "0.5"),
    "balanced accuracy": ("inspection", "balanced_accuracy", "0.5"),
    "`unsure` at the default thresholds": ("inspection", "unsure_rate", "0"),
    "defects with a box": ("inspection", "box_recall", "0"),
    "false boxes a picture": ("inspection", "false_boxes_per_picture", "0"),
    "time to verdict, ms": ("inspection", "median_ms", ""),
    "right tool": ("commands", "right_tool", "0"),
    "right tool and arguments": ("commands", "right_call", "0"),
    "no call where none fits": ("commands", "no_call_out_of_scope", "1"),
}
IOU = 0.3


def card(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]], spoken: Mapping[str, Any], minutes: int, remark: str = ""
) -> str:
    """The model card: `scores` of `export.default_model.evaluate`, `spoken` of `export.evaluation.run`."""
    rows = []
    for label, (group, metric, baseline) in METRICS.items():
        values = [scores[bundle][group][metric] for bundle in ("default", "float32")]
        rows.append(f"| {label} | {values[0]} | {values[1]} | {baseline} |")
    groups = {**spoken["by_source"], "all": spoken["all"]}
    command_rows = [_row(_command_cells(name, group)) for name, group in groups.items()]
    return CARD.format(
        rows="\n".join(rows),
        iou=IOU,
        minutes=minutes,
        cases=spoken["all"]["cases"],
        command_rows="\n".join([_row(COMMAND_COLUMNS), "|---" * len(COMMAND_COLUMNS) + "|", *command_rows]),
        cut_off=spoken["all"]["cut_off"],
        command_ms=round(spoken["all"]["median_ms"]),
        remark=f"\n\n{textwrap.fill(remark, 116)}" if remark else "",
    )


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
    """Copy the bundle to `target`, with its card, under the name `default`."""
    manifest = open_bundle(bundle).manifest
    if bundle.resolve() != target.resolve():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(bundle, target)
    (target / "model_card.md").write_text(card_text, encoding="utf-8")
    write_manifest(target, manifest)
    verify_hashes(open_bundle(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("commands", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--minutes", type=int, required=True, help="how long training took, for the card")
    parser.add_argument("--remark", default="", help="a sentence on the held-out commands, for the card")
    arguments = parser.parse_args()
    scores, spoken = (json.loads(path.read_text(encoding="utf-8")) for path in (arguments.scores, arguments.commands))
    publish(arguments.bundle, card(scores, spoken, arguments.minutes, arguments.remark), arguments.target)


if __name__ == "__main__":
    main()
