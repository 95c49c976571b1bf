"""Parts that the gate's network never saw: good and broken pictures of each, from folders and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from lineside.export.evaluation.drawn_parts import KINDS, draw
from lineside.runtime.chat import Picture

MOST = 60
"""Pictures of each sort that are used of a part."""
SCREWS = {"dev": ("462500_045", "490000_180"), "train": ("437500_315", "585000_090")}
"""Camera positions that are left out of the default model's training, by folder."""
BOARDS = ("20085012", "44000094")
"""Scans by their names."""
Part = tuple[list[Picture], list[Picture]]
"""Good ones, broken ones."""


def parts(data: Path) -> dict[str, Callable[[], Part]]:
    """By name, each read when it is asked for."""
    found: dict[str, Callable[[], Part]] = {"figures": partial(_figures, data / "figures")}
    for folder, positions in SCREWS.items():
        for position in positions:
            found[f"screws {position}"] = partial(_screws, data / "ballscrew" / folder, position)
    for name in BOARDS:
        found[f"board {name}"] = partial(_board, data / "pcb" / "train", name)
    for kind in KINDS:
        found[f"drawn {kind}"] = partial(_drawn, kind)
    return found


def _read(path: Path) -> Picture:
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(path)
    return np.ascontiguousarray(picture[..., ::-1])


def _figures(folder: Path) -> Part:
    good, bad = ([_read(path) for path in sorted((folder / sort).iterdir())][:MOST] for sort in ("good", "bad"))
    return good, bad


def _drawn(kind: str) -> Part:
    return draw(kind, 50, False), draw(kind, 40, True)


def _labels(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]


def _screws(folder: Path, position: str) -> Part:
    sorts: Part = ([], [])
    for label in _labels(folder):
        if label["position"] == position:
            sorts[bool(label["defects"])].append(_read(folder / str(label["image"])))
    return sorts[0][:MOST], sorts[1][:MOST]


def _board(folder: Path, name: str) -> Part:
    """One board as a camera would see it again and again, and with one of its defects at a time."""
    label = next(each for each in _labels(folder) if name in str(each["image"]))
    clean, faulty = _read(folder / str(label["reference"])), _read(folder / str(label["image"]))
    rng = np.random.default_rng(5)
    defects = label["defects"]
    assert isinstance(defects, list)
    flawed = []
    for index in range(40):
        x0, y0, x1, y1 = (int(v) for v in defects[index % len(defects)]["box"])
        one = clean.copy()
        one[y0 - 4 : y1 + 4, x0 - 4 : x1 + 4] = faulty[y0 - 4 : y1 + 4, x0 - 4 : x1 + 4]
        flawed.append(_seen(one, rng))
    return [_seen(clean, rng) for _ in range(50)], flawed


def _seen(board: Picture, rng: np.random.Generator) -> Picture:
    """Moved and turned a little, soft, in other light, with noise."""
    height, width = board.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-0.4, 0.4), 1.0)
    turn = turn + np.pad(rng.uniform(-3, 3, (2, 1)), ((0, 0), (2, 0)))
    moved = cv2.warpAffine(board, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(moved.astype(np.float32), (0, 0), 1.0) * 0.75 + 30
    lit = soft * rng.uniform(0.95, 1.05) + rng.normal(0, 3, soft.shape)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
