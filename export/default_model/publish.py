"""Put a scored bundle into the package with its card: `python -m export.default_model.publish BUNDLE SCORES TARGET`."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.bundle_writer import write_manifest
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
- Languages other than English, and conversation.
"""
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


def card(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], minutes: int) -> str:
    """The model card, its figures taken from `evaluate`."""
    rows = []
    for label, (group, metric, baseline) in METRICS.items():
        values = [scores[bundle][group][metric] for bundle in ("default", "float32")]
        rows.append(f"| {label} | {values[0]} | {values[1]} | {baseline} |")
    return CARD.format(rows="\n".join(rows), iou=IOU, minutes=minutes)


def publish(bundle: Path, scores: Path, target: Path, minutes: int) -> None:
    """Copy the bundle to `target`, with its card, under the name `default`."""
    manifest = open_bundle(bundle).manifest
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle, target)
    (target / "model_card.md").write_text(
        card(json.loads(scores.read_text(encoding="utf-8")), minutes), encoding="utf-8"
    )
    write_manifest(target, manifest)
    verify_hashes(open_bundle(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--minutes", type=int, required=True, help="how long training took, for the card")
    arguments = parser.parse_args()
    publish(arguments.bundle, arguments.scores, arguments.target, arguments.minutes)


if __name__ == "__main__":
    main()
