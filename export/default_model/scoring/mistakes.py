"""Pictures of what a model got wrong: labels in green, what it found in red."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lineside.export.default_model.data.ballscrew import Example
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.verdict import Defect

COLUMNS, ROWS, TILE_WIDTH = 3, 4, 420
LABEL, FOUND = (40, 170, 60), (220, 40, 40)
CAPTION_PX = 18


def draw_mistakes(examples: Sequence[Example], found: Sequence[Inspection], path: Path) -> None:
    """The most confident wrong verdicts first, then those with the most wrong boxes; a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(examples, found, strict=True))
    order = np.argsort([_wrongness(*pair) for pair in pairs])[::-1][: COLUMNS * ROWS]
    tiles = [_tile(*pairs[int(i)]) for i in order]
    height = max(len(tile) for tile in tiles)
    tiles = [np.concatenate([tile, np.full((height - len(tile), TILE_WIDTH, 3), 255, np.uint8)]) for tile in tiles]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    sheet = np.concatenate([np.concatenate(tiles[i : i + COLUMNS], 1) for i in range(0, len(tiles), COLUMNS)])
    good, data = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 75])
    if good:
        path.write_bytes(data.tobytes())


def _wrongness(example: Example, inspection: Inspection) -> float:
    boxes = abs(len(example.defects) - len(inspection.defects))
    return abs(float(bool(example.defects)) - inspection.fail_probability) + 0.1 * boxes


def _tile(example: Example, inspection: Inspection) -> Picture:
    scale = TILE_WIDTH / example.picture.shape[1]
    size = (TILE_WIDTH, round(example.picture.shape[0] * scale))
    scaled = cv2.resize(np.ascontiguousarray(example.picture), size, interpolation=cv2.INTER_AREA)
    picture = np.asarray(scaled, np.uint8)
    _boxes(picture, example.defects, LABEL, scale)
    _boxes(picture, inspection.defects, FOUND, scale)
    caption = np.full((CAPTION_PX, TILE_WIDTH, 3), 255, np.uint8)
    text = f"labelled {example.verdict}, probability of a defect {inspection.fail_probability:.2f}"
    cv2.putText(caption, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([caption, picture])


def _boxes(picture: Picture, defects: Sequence[Defect], color: tuple[int, int, int], scale: float) -> None:
    for defect in defects:
        x0, y0, x1, y1 = (round(value * scale) for value in defect.box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), color, 1)
