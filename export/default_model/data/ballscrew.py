"""Ball-screw pictures (BSData, CC BY-SA 4.0): reading the labels, and augmentation for training."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Defect, Region, Verdict

TASK = InspectionTask(defect_types=("pitting",), part="ball screw")
"""What the default model is trained to look for."""


REGION_ODDS = 0.25
TINY_ODDS = 0.1
"""Of a pasted defect that is as small as pits are when they begin: few photographs show one. With many that nobody
could see, every clean picture became suspect."""
TINY = 15
"""Pixels of a picture 640 wide, under which a pit is hardly to be seen."""
THREAD_SLOPE = -0.16
"""Of the thread's flanks in these pictures, y over x."""
HELD_OUT = ("437500_315", "585000_090")
"""Positions of `train` that training never sees."""


@dataclass(frozen=True)
class Example:
    """A labelled picture. Boxes are in pixels of `picture`, `(height, width, 3)` uint8.

    `reference` is a picture of the same place of a part without defects, in the same size.
    """

    name: str
    position: str
    picture: Picture
    defects: tuple[Defect, ...]
    reference: Picture | None = None

    @property
    def verdict(self) -> Verdict:
        return "fail" if self.defects else "pass"


def load_examples(folder: Path) -> list[Example]:
    """Read `labels.jsonl` and its pictures. Raises FileNotFoundError with the missing path."""
    examples = []
    for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        label = json.loads(line)
        path = folder / label["image"]
        with Image.open(path) as image:
            picture = np.asarray(image.convert("RGB"))
        x0, y0, x1, y1 = range(4)
        defects = tuple(
            Defect(item["type"], (item["box"][x0], item["box"][y0], item["box"][x1], item["box"][y1]))
            for item in label["defects"]
        )
        examples.append(Example(path.name, label["position"], picture, defects))
    return examples


def augment(example: Example, donors: list[Example], rng: np.random.Generator, paste: float = 0.5) -> Example:
    """A varied copy: defects of other pictures pasted in, each with odds of `paste`, then flips, a warp, and light.

    `donors` are examples that have defects. Half of the pasted defects stand on the flank of the thread where some
    picture of the same camera really has one, the others anywhere.
    """
    while rng.random() < paste:
        donor, place = (donors[int(i)] for i in rng.integers(len(donors), size=2))
        example = paste_defect(example, donor, rng, place if rng.random() < 0.6 else None)
    example = warp(example, rng)
    picture, defects = example.picture, example.defects
    height, width = picture.shape[:2]
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
        defects = tuple(Defect(d.type, (width - d.box[2], d.box[1], width - d.box[0], d.box[3])) for d in defects)
    if rng.random() < 0.5:
        picture = picture[::-1]
        defects = tuple(Defect(d.type, (d.box[0], height - d.box[3], d.box[2], height - d.box[1])) for d in defects)
    light = picture.astype(np.float32)
    mean = light.mean(axis=(0, 1), keepdims=True)
    light = (light - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.75, 1.25)
    light *= rng.uniform(0.93, 1.07, size=(1, 1, 3))
    light += rng.normal(0, rng.uniform(0, 4), size=light.shape)
    return Example(example.name, example.position, np.clip(light, 0, 255).astype(np.uint8), defects)


def with_tiny(example: Example, donors: list[Example], rng: np.random.Generator, most: int) -> Example:
    """A copy with up to `most` tiny defects of other pictures pasted in, half of them on the flank of the thread."""
    for _ in range(int(rng.integers(most + 1))):
        donor, place = (donors[int(i)] for i in rng.integers(len(donors), size=2))
        example = paste_defect(example, donor, rng, place if rng.random() < 0.5 else None, tiny_odds=1.0)
    return example


def only_tiny(example: Example) -> Example:
    """With the defects that are less than `TINY` pixels long."""
    tiny = tuple(d for d in example.defects if max(d.box[2] - d.box[0], d.box[3] - d.box[1]) < TINY)
    return replace(example, defects=tiny)


def warp(example: Example, rng: np.random.Generator) -> Example:
    """Turned, sheared and scaled a little, unlike in both directions; one whose defect would be cut is left alone.

    Another camera position shows the thread larger or smaller, and at another slope.
    """
    height, width = example.picture.shape[:2]
    angle, shear = rng.normal(0, 0.07), rng.normal(0, 0.08)
    zoom = np.exp(rng.uniform(-0.15, 0.35)) * np.exp(np.asarray([1, -1]) * rng.normal(0, 0.1))
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.asarray([[1.0, shear], [0.0, 1.0]]) @ np.diag(zoom)
    centre = np.asarray([width, height]) / 2
    slack = np.abs(zoom - 1) / 2 * (width, height)
    offset = centre - linear @ centre + rng.uniform(-slack, slack)
    defects = []
    for defect in example.defects:
        x0, y0, x1, y1 = defect.box
        middle = linear @ np.asarray([(x0 + x1) / 2, (y0 + y1) / 2]) + offset
        half = np.abs(linear) @ np.asarray([(x1 - x0) / 2, (y1 - y0) / 2])
        low, high = middle - half, middle + half
        if (low < 0).any() or (high > (width, height)).any():
            return example
        defects.append(Defect(defect.type, (float(low[0]), float(low[1]), float(high[0]), float(high[1]))))
    matrix = np.column_stack([linear, offset])
    picture = cv2.warpAffine(
        np.ascontiguousarray(example.picture), matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    return Example(example.name, example.position, np.asarray(picture, np.uint8), tuple(defects))


def paste_defect(
    example: Example,
    donor: Example,
    rng: np.random.Generator,
    place: Example | None = None,
    tiny_odds: float = TINY_ODDS,
) -> Example:
    """Blend one of the donor's defects, scaled, turned and feathered, into a free place of `example`.

    `place` is a picture with a defect near which to put it; None puts it anywhere. With `tiny_odds` it is as small as
    pits are when they begin.
    """
    defect = donor.defects[int(rng.integers(len(donor.defects)))]
    margin = 5
    x0, y0 = (max(int(v) - margin, 0) for v in defect.box[:2])
    x1, y1 = (int(v) + margin for v in defect.box[2:])
    patch = donor.picture[y0:y1, x0:x1]
    scale = rng.uniform(0.12, 0.4) if rng.random() < tiny_odds else rng.uniform(0.4, 1.4)
    w, h = max(int(patch.shape[1] * scale), 5), max(int(patch.shape[0] * scale), 5)
    height, width = example.picture.shape[:2]
    if w + 2 >= width or h + 2 >= height:
        return example
    scaled = np.asarray(cv2.resize(patch, (w, h), interpolation=cv2.INTER_AREA), dtype=np.float32)
    scaled = scaled[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
    if place is not None:
        x, y = _near(place.defects[0], rng, (width - w - 1, height - h - 1), (w, h))
    inset = margin * scale
    box = (x + inset, y + inset, x + w - inset, y + h - inset)
    if any(_overlap(box, d.box) for d in example.defects):
        return example
    ellipse = np.zeros((h, w), np.float32)
    cv2.ellipse(ellipse, (w // 2, h // 2), (max(w // 2 - 2, 1), max(h // 2 - 2, 1)), 0, 0, 360, (1.0,), -1)
    mask = cv2.GaussianBlur(ellipse, (0, 0), max(1.0, min(w, h) / 12)).reshape(h, w, 1)
    picture = example.picture.astype(np.float32)
    target = picture[y : y + h, x : x + w]
    rim = scaled.reshape(-1, 3).mean(0) * 0.5 + np.median(scaled[[0, -1]].reshape(-1, 3), axis=0) * 0.5
    shifted = scaled + (target.mean(axis=(0, 1)) - rim) * rng.uniform(0.3, 1.0)
    picture[y : y + h, x : x + w] = target * (1 - mask) + shifted * mask
    pasted = Defect(defect.type, box)
    return Example(
        example.name, example.position, np.clip(picture, 0, 255).astype(np.uint8), (*example.defects, pasted)
    )


def region(example: Example, rng: np.random.Generator) -> Region | None:
    """Where a gate might have doubts: mostly nowhere, else often around a defect, and as often somewhere else."""
    draw = rng.random()
    if draw > REGION_ODDS:
        return None
    height, width = example.picture.shape[:2]
    w, h = rng.uniform(0.1, 0.35) * width, rng.uniform(0.2, 0.5) * height
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    if example.defects and draw > REGION_ODDS / 4:
        box = example.defects[int(rng.integers(len(example.defects)))].box
        x, y = (box[0] + box[2]) / 2 + rng.normal(0, w / 4), (box[1] + box[3]) / 2 + rng.normal(0, h / 4)
    left, top = max(x - w / 2, 0.0), max(y - h / 2, 0.0)
    return left, top, min(left + w, float(width)), min(top + h, float(height))


def _near(defect: Defect, rng: np.random.Generator, most: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner of a box of `size` along the thread through `defect`."""
    along = rng.normal(0, 80)
    x = (defect.box[0] + defect.box[2]) / 2 + along - size[0] / 2
    y = (defect.box[1] + defect.box[3]) / 2 + along * THREAD_SLOPE + rng.normal(0, 5) - size[1] / 2
    return int(np.clip(x, 0, most[0])), int(np.clip(y, 0, most[1]))


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
