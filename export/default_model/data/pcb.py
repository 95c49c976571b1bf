"""Circuit boards (DeepPCB, MIT): a scan and its defect-free reference, with six types of defects."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lineside.export.default_model.data.ballscrew import Example
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.close_ups import CloseUp
from lineside.runtime.inspection.close_ups import close_ups as find_close_ups
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Defect

TYPES = ("open", "short", "mousebite", "spur", "spurious_copper", "pinhole")
TASK = InspectionTask(defect_types=TYPES, part="circuit board")
HELD_OUT_BOARDS = ("50600", "44000")
"""Boards of the data that training never sees: scans of one board overlap."""
LEAST = 0.3
"""Of a view's side: a defect whose centre is farther out than this belongs to another view."""


def load_examples(folder: Path) -> list[Example]:
    """Read `labels.jsonl` and its pairs of pictures; `position` is the board. Raises FileNotFoundError."""
    examples = []
    for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        label = json.loads(line)
        x0, y0, x1, y1 = range(4)
        defects = tuple(
            Defect(item["type"], (item["box"][x0], item["box"][y0], item["box"][x1], item["box"][y1]))
            for item in label["defects"]
        )
        name = Path(label["image"]).name
        picture, reference = (read_bits(folder / label[key]) for key in ("image", "reference"))
        examples.append(Example(name, name[:5], picture, in_reading_order(defects), reference))
    return examples


def read_bits(path: Path) -> Picture:
    """A black and white picture as RGB without a copy for each channel. Raises FileNotFoundError."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise FileNotFoundError(path)
    return np.broadcast_to(np.asarray(grey, np.uint8)[..., None], (*grey.shape, 3))


def in_reading_order(defects: tuple[Defect, ...]) -> tuple[Defect, ...]:
    """By rows of tokens from top to bottom, then from left to right, so that there is one right way to list them."""
    return tuple(sorted(defects, key=lambda d: (d.box[1] + d.box[3], d.box[0])))


def augment(example: Example, rng: np.random.Generator) -> Example:
    """A turned or mirrored copy, with the reference a pixel off at times, as scans are."""
    pictures: list[npt.NDArray[np.uint8]] = [example.picture, _reference(example)]
    size = example.picture.shape[0]
    boxes = [d.box for d in example.defects]
    if rng.random() < 0.5:
        pictures = [p[:, ::-1] for p in pictures]
        boxes = [(size - b[2], b[1], size - b[0], b[3]) for b in boxes]
    if rng.random() < 0.5:
        pictures = [p[::-1] for p in pictures]
        boxes = [(b[0], size - b[3], b[2], size - b[1]) for b in boxes]
    if rng.random() < 0.5:
        pictures = [p.swapaxes(0, 1) for p in pictures]
        boxes = [(b[1], b[0], b[3], b[2]) for b in boxes]
    if rng.random() < 0.3:
        pictures[1] = np.roll(pictures[1], rng.integers(-1, 2, size=2), axis=(0, 1))
    defects = tuple(Defect(d.type, box) for d, box in zip(example.defects, boxes, strict=True))
    return Example(example.name, example.position, pictures[0], in_reading_order(defects), pictures[1])


def warp(view: Example, rng: np.random.Generator) -> Example:
    """A view turned, scaled and shifted a little, unlike in both directions: other designs have other widths."""
    side = view.picture.shape[0]
    angle, zoom = rng.normal(0, 0.12), np.exp(rng.uniform(-0.25, 0.25) + np.asarray([1, -1]) * rng.normal(0, 0.08))
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(zoom)
    centre = np.full(2, side / 2)
    offset = centre - turn @ centre + rng.uniform(-0.06, 0.06, size=2) * side
    matrix = np.column_stack([turn, offset])
    size = (side, side)
    picture, reference = (
        np.asarray(cv2.warpAffine(np.ascontiguousarray(p), matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        for p in (view.picture, _reference(view))
    )
    defects = []
    for defect in view.defects:
        x0, y0, x1, y1 = defect.box
        middle = turn @ np.asarray([(x0 + x1) / 2, (y0 + y1) / 2]) + offset
        half = np.abs(turn) @ np.asarray([(x1 - x0) / 2, (y1 - y0) / 2])
        low, high = np.clip(middle - half, 0, side), np.clip(middle + half, 0, side)
        defects.append(Defect(defect.type, (float(low[0]), float(low[1]), float(high[0]), float(high[1]))))
    return Example(view.name, view.position, picture, tuple(defects), reference)


def close_ups(example: Example) -> list[Example]:
    """What the model is shown of a board (`runtime.inspection.close_ups`), each view with a defect in its middle."""
    found = find_close_ups(np.ascontiguousarray(example.picture), np.ascontiguousarray(_reference(example)))
    return [_seen(example, close_up) for close_up in found.found]


def _seen(example: Example, close_up: CloseUp) -> Example:
    left, top, right, bottom = close_up.place
    scale = close_up.picture.shape[0] / (right - left)
    middle = (left + (right - left) * LEAST, top + (bottom - top) * LEAST)
    defects = []
    for d in example.defects:
        x, y = (d.box[0] + d.box[2]) / 2, (d.box[1] + d.box[3]) / 2
        if middle[0] <= x <= left + right - middle[0] and middle[1] <= y <= top + bottom - middle[1]:
            x0, y0, x1, y1 = np.clip(d.box, (left, top, left, top), (right, bottom, right, bottom))
            box = tuple(float(v) * scale for v in (x0 - left, y0 - top, x1 - left, y1 - top))
            defects.append(Defect(d.type, (box[0], box[1], box[2], box[3])))
    return Example(example.name, example.position, close_up.picture, tuple(defects), close_up.reference)


def _reference(example: Example) -> Picture:
    if example.reference is None:
        raise ValueError(f"{example.name} has no reference")
    return example.reference
