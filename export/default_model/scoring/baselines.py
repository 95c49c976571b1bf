"""What simple methods score on the same pictures.

`python -m lineside.export.default_model.scoring.baselines DATA --out FILE`

For ball screws the nearest neighbours of frozen EfficientNet-Lite0 features; for circuit boards the difference of scan
and reference. Needs torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track

from lineside.export.default_model.data import pcb
from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.networks.dense import resized
from lineside.export.default_model.networks.efficientnet import Lite0Features
from lineside.export.default_model.networks.network import normalized
from lineside.export.default_model.scoring.evaluate import BOARD_IOU, held_out_boards, held_out_screws
from lineside.export.default_model.scoring.scores import auroc, balanced_accuracy
from lineside.export.default_model.train import training_screws
from lineside.runtime.inspection.overlap import Matches, match
from lineside.runtime.inspection.verdict import Defect

NEIGHBOURS = 5
SIZE = (576, 240)
LEAST_PIXELS, MARGIN = 12, 9
"""Of a difference that counts, and around it: labels leave room around a defect."""


def nearest_neighbours(data: Path) -> dict[str, float]:
    """Share of defective ones among the `NEIGHBOURS` nearest training pictures, by mean and maximum of each channel."""
    describe = Lite0Features()
    train, examples = training_screws(data), held_out_screws(data)
    known, labels = _described(describe, train), np.asarray([bool(e.defects) for e in train])
    similar = _described(describe, examples) @ known.T
    nearest = np.argsort(-similar, axis=1)[:, :NEIGHBOURS]
    weight = np.take_along_axis(similar, nearest, 1)
    share = (labels[nearest] * weight).sum(1) / weight.sum(1)
    bad = np.asarray([bool(e.defects) for e in examples])
    return {
        "auroc": round(auroc(share, bad), 4),
        "balanced_accuracy": round(balanced_accuracy(share, bad, 0.5), 4),
    }


def _described(describe: Lite0Features, examples: Sequence[Example]) -> npt.NDArray[np.float64]:
    rows = []
    for example in track(examples, description="features"):
        features = describe(normalized(torch.from_numpy(resized(example.picture, SIZE))[None]))[0]
        row = torch.cat([features.mean((1, 2)), features.amax((1, 2))]).double().numpy()
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def template_difference(data: Path) -> dict[str, float]:
    """Boxes around what differs; the type is the commonest of those that add copper, or take it away."""
    typed, untyped = Matches(), Matches()
    for example in held_out_boards(data):
        found = differences(example)
        typed += match(example.defects, found, BOARD_IOU)
        untyped += match(example.defects, found, BOARD_IOU, typed=False)
    return {"box_f1": round(typed.f1, 4), "box_f1_whatever_the_type": round(untyped.f1, 4)}


def differences(example: Example) -> list[Defect]:
    """Connected differences that an opening with 3 x 3 pixels leaves."""
    if example.reference is None:
        raise ValueError(f"{example.name} has no reference")
    scan, reference = (np.ascontiguousarray(p[..., 0]) < 128 for p in (example.picture, example.reference))
    changed = cv2.morphologyEx((scan != reference).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    joined = cv2.dilate(changed, np.ones((5, 5), np.uint8))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(joined)
    found = []
    for index in range(1, count):
        x, y, w, h, pixels = (int(v) for v in statistics[index])
        if pixels < LEAST_PIXELS:
            continue
        added = scan[labels == index].sum() > reference[labels == index].sum()
        kind = "spur" if added else "mousebite"
        assert kind in pcb.TYPES
        found.append(Defect(kind, (x - MARGIN, y - MARGIN, x + w + MARGIN, y + h + MARGIN)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with ballscrew/ and pcb/")
    parser.add_argument("--out", type=Path, default=Path("baselines.json"))
    arguments = parser.parse_args()
    scores = {
        "nearest_neighbours": nearest_neighbours(arguments.data),
        "difference": template_difference(arguments.data),
    }
    arguments.out.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
