"""What the gate sees, drawn over the pictures, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.gate import GateMemory
from lineside.runtime.inspection.observation import GateObservation

TILE_WIDTH = 360
COLUMNS = 3
CAPTION_PX = 20
MOST_TILES = 24


def overlay(picture: Picture, seen: GateObservation, memory: GateMemory) -> Picture:
    """The picture with its heat on it: clear where it is as usual, red where the gate would fail it."""
    height, width = picture.shape[:2]
    low = float(memory.good_scores.min()) * 0.7
    patches = np.clip((seen.heat - low) / max(memory.fail_above - low, 1e-6), 0, 1).astype(np.float32)
    share = np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR))[..., None]
    red = np.asarray([220, 30, 30], np.float32)
    return np.asarray(np.clip(picture * (1 - 0.7 * share) + red * 0.7 * share, 0, 255), np.uint8)


def contact_sheet(pictures: Sequence[Picture], seen: Sequence[GateObservation], memory: GateMemory) -> Picture:
    """The oddest pictures first, each with its heat and its score when held against the others; RGB."""
    order = np.argsort(memory.good_scores)[::-1][:MOST_TILES]
    tiles = [_tile(overlay(pictures[i], seen[i], memory), float(memory.good_scores[i])) for i in order]
    height = max(tile.shape[0] for tile in tiles)
    blank = np.full((height, TILE_WIDTH, 3), 255, np.uint8)
    rows = []
    for start in range(0, len(tiles), COLUMNS):
        row = [*tiles[start : start + COLUMNS]]
        padded = [np.concatenate([tile, blank[: height - len(tile)]]) for tile in row]
        rows.append(np.concatenate([*padded, *[blank] * (COLUMNS - len(row))], 1))
    return np.concatenate(rows)


def _tile(picture: Picture, score: float) -> Picture:
    height = max(round(picture.shape[0] * TILE_WIDTH / picture.shape[1]), 1)
    small = cv2.resize(picture, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    caption = np.full((CAPTION_PX, TILE_WIDTH, 3), 255, np.uint8)
    cv2.putText(caption, f"{score:.3f}", (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([caption, small])
