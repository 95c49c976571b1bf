"""What the gate sees, drawn over the pictures, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.gate_memory import GateMemory

TILE_WIDTH, MOST_HEIGHT = 360, 360
COLUMNS = 3
CAPTION_PX = 40
MOST_TILES = 24
"""Of each sort."""
COLORS = {"pass": (20, 110, 40), "unsure": (170, 110, 0), "fail": (180, 20, 20)}


@dataclass(frozen=True)
class Tile:
    """A picture with its heat `(rows, columns)`, its score and its name."""

    picture: Picture
    heat: npt.NDArray[np.float32]
    score: float
    caption: str
    shown_bad: bool


def overlay(tile: Tile, memory: GateMemory) -> Picture:
    """The picture with its heat on it: clear where it is as usual, red where the gate would fail it."""
    height, width = tile.picture.shape[:2]
    low = float(memory.good_scores.min()) * 0.7
    patches = np.clip((tile.heat - low) / max(memory.fail_above - low, 1e-6), 0, 1).astype(np.float32)
    share = np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR))[..., None]
    red = np.asarray([220, 30, 30], np.float32)
    return np.asarray(np.clip(tile.picture * (1 - 0.7 * share) + red * 0.7 * share, 0, 255), np.uint8)


def contact_sheet(tiles: Sequence[Tile], memory: GateMemory) -> Picture:
    """The oddest good pictures first, then the bad ones that look most usual; each with its name, its score, and what
    the gate makes of that; RGB."""
    good = sorted((tile for tile in tiles if not tile.shown_bad), key=lambda tile: -tile.score)[:MOST_TILES]
    bad = sorted((tile for tile in tiles if tile.shown_bad), key=lambda tile: tile.score)[:MOST_TILES]
    drawn = [_tile(tile, memory) for tile in [*good, *bad]]
    height = max(tile.shape[0] for tile in drawn)
    blank = np.full((height, TILE_WIDTH, 3), 255, np.uint8)
    rows = []
    for start in range(0, len(drawn), COLUMNS):
        row = drawn[start : start + COLUMNS]
        padded = [np.concatenate([tile, blank[: height - len(tile)]]) for tile in row]
        rows.append(np.concatenate([*padded, *[blank] * (COLUMNS - len(row))], 1))
    return np.concatenate(rows)


def _tile(tile: Tile, memory: GateMemory) -> Picture:
    height, width = tile.picture.shape[:2]
    scale = min(TILE_WIDTH / width, MOST_HEIGHT / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(overlay(tile, memory), size, interpolation=cv2.INTER_AREA)
    canvas = np.full((CAPTION_PX + len(small), TILE_WIDTH, 3), 255, np.uint8)
    canvas[CAPTION_PX:, : size[0]] = small
    verdict = "pass" if tile.score <= memory.pass_below else "fail" if tile.score >= memory.fail_above else "unsure"
    name = tile.caption if len(tile.caption) <= 42 else f"{tile.caption[:20]}...{tile.caption[-19:]}"
    for text, y, color in ((name, 15, (0, 0, 0)), (f"{tile.score:.3f}  {verdict}", 33, COLORS[verdict])):
        cv2.putText(canvas, text, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
    return canvas
