"""Parts that are drawn: no training has seen them, and their pictures come from a seed.

Each kind has its own way to lie before the camera: a washer anywhere and turned anyhow, a connector moved by a few
pixels, a label that is printed, a tile whose grain never comes twice.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator
SIZE = 480


def washer(rng: Rng, flawed: bool) -> Picture:
    """A ring on a belt; broken, cracked, dented or without its true hole."""
    canvas = _noise(rng, (SIZE, SIZE), 6, 5.0) + 62
    x, y = rng.uniform(170, 310, 2)
    ring = np.zeros((SIZE, SIZE), np.float32)
    cv2.circle(ring, (round(x), round(y)), 130, (1.0,), -1, cv2.LINE_AA)
    hole = (60, round(60 * rng.uniform(0.6, 0.75))) if flawed and rng.random() < 0.25 else (60, 60)
    cv2.ellipse(ring, (round(x), round(y)), hole, rng.uniform(0, 180), 0, 360, (0.0,), -1, cv2.LINE_AA)
    metal = 150 + 40 * np.cos(_angles(x, y) * 2 - rng.uniform(0, 6.3)) + _noise(rng, (SIZE, SIZE), 2, 4.0)
    angle = rng.uniform(0, 2 * np.pi)
    at = (round(x + 97 * np.cos(angle)), round(y + 97 * np.sin(angle)))
    rim = (round(x + 132 * np.cos(angle)), round(y + 132 * np.sin(angle)))
    if flawed and hole[1] == 60:
        kind = rng.integers(3)
        if kind == 0:
            cv2.circle(ring, rim, int(rng.integers(14, 30)), (0.0,), -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.line(metal, at, rim, (45.0,), int(rng.integers(3, 6)), cv2.LINE_AA)
        else:
            cv2.ellipse(metal, at, (int(rng.integers(8, 18)), int(rng.integers(6, 12))), 30, 0, 360, (95.0,), -1)
    return _photograph(canvas * (1 - ring) + metal * ring, rng, (1.0, 0.98, 0.95))


def connector(rng: Rng, flawed: bool) -> Picture:
    """A housing with two rows of pins; one is missing, bent or too short."""
    canvas = np.full((SIZE, SIZE), 205, np.float32)
    dx, dy = rng.uniform(-5, 5, 2)
    box = np.asarray([[60, 140], [420, 140], [420, 340], [60, 340]]) + np.asarray([dx, dy])
    cv2.fillPoly(canvas, [np.round(box).astype(np.int32)], (58.0,), cv2.LINE_AA)
    wrong, kind = (int(rng.integers(16)), int(rng.integers(3))) if flawed else (-1, 0)
    for pin in range(16):
        x, y = 95 + dx + pin % 8 * 41, 185 + dy + pin // 8 * 90
        length, lean = 46.0, 0.0
        if pin == wrong:
            if kind == 0:
                continue
            length, lean = (46.0, float(rng.choice((-1, 1)) * rng.uniform(9, 16))) if kind == 1 else (24.0, 0.0)
        start, end = (round(x), round(y)), (round(x + lean), round(y + length))
        cv2.line(canvas, start, end, (222.0,), 11, cv2.LINE_AA)
        cv2.line(canvas, start, end, (245.0,), 3, cv2.LINE_AA)
    return _photograph(canvas + _noise(rng, canvas.shape, 2, 2.0), rng, (1.0, 0.97, 0.9))


def label(rng: Rng, flawed: bool) -> Picture:
    """A printed label; smeared, with a line that is not printed, a wrong character, or torn at a corner."""
    canvas = np.full((SIZE, SIZE), 236, np.uint8)
    rows = ["LINESIDE 24V", "TYPE 7-4410", "IP67  2.5A", "MADE 2026-11"]
    kind = int(rng.integers(4)) if flawed else -1
    if kind == 0:
        row, character = int(rng.integers(4)), 0
        while rows[row][character] == " " or character == 0:
            character = int(rng.integers(1, len(rows[row])))
        rows[row] = rows[row][:character] + "#" + rows[row][character + 1 :]
    pale = int(rng.integers(4))
    for index, text in enumerate(rows):
        shade = 150.0 if kind == 1 and index == pale else 25.0
        cv2.putText(canvas, text, (52, 130 + 75 * index), cv2.FONT_HERSHEY_DUPLEX, 1.55, (shade,), 3, cv2.LINE_AA)
    cv2.rectangle(canvas, (24, 54), (456, 400), (25.0,), 4, cv2.LINE_AA)
    if kind == 2:
        x, y = (int(v) for v in rng.integers(90, 330, 2))
        patch = canvas[y : y + 60, x : x + 90]
        canvas[y : y + 60, x : x + 90] = cv2.blur(patch, (25, 3))
    if kind == 3:
        corner = np.asarray([[480, 480], [480, 400 - rng.integers(60)], [400 - rng.integers(60), 480]], np.int32)
        cv2.fillPoly(canvas, [corner], (120.0,), cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-1.5, 1.5), 1.0)
    turn = turn + np.pad(rng.uniform(-4, 4, (2, 1)), ((0, 0), (2, 0)))
    moved = cv2.warpAffine(canvas, turn, (SIZE, SIZE), borderValue=(236.0,)).astype(np.float32)
    return _photograph(moved + _noise(rng, canvas.shape, 1, 3.0), rng, (1.0, 1.0, 0.93))


def tile(rng: Rng, flawed: bool) -> Picture:
    """A stone tile; cracked, spotted or chipped."""
    grain = _noise(rng, (SIZE, SIZE), 12, 11.0) + _noise(rng, (SIZE, SIZE), 3, 9.0) + 150
    if flawed:
        kind, (x, y) = int(rng.integers(3)), (int(v) for v in rng.integers(90, 390, 2))
        if kind == 0:
            steps = rng.uniform(-9, 9, (14, 2)).cumsum(0) * 1.2 + (x, y)
            cv2.polylines(grain, [np.round(steps).astype(np.int32)], False, (80.0,), 3, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(grain, (x, y), (int(rng.integers(9, 18)), 10), 40, 0, 360, (95.0,), -1, cv2.LINE_AA)
        else:
            side = int(rng.integers(SIZE))
            cv2.circle(grain, (side, int(rng.choice((0, SIZE - 1)))), int(rng.integers(22, 40)), (215.0,), -1)
    return _photograph(grain, rng, (1.0, 0.96, 0.9))


KINDS: dict[str, Callable[[Rng, bool], Picture]] = {
    "washer": washer, "connector": connector, "label": label, "tile": tile
}  # fmt: skip


def draw(kind: str, count: int, flawed: bool) -> list[Picture]:
    """So many pictures of it, the same ones at every call."""
    rng = np.random.default_rng([sorted(KINDS).index(kind), int(flawed)])
    return [KINDS[kind](rng, flawed) for _ in range(count)]


def _noise(rng: Rng, shape: tuple[int, ...], coarse: int, deviation: float) -> Floats:
    """Grain of about `coarse` pixels."""
    height, width = shape[:2]
    field = rng.normal(size=(height // coarse + 2, width // coarse + 2)).astype(np.float32)
    grown = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown * deviation, np.float32)


def _angles(x: float, y: float) -> Floats:
    ys, xs = np.mgrid[:SIZE, :SIZE]
    return np.asarray(np.arctan2(ys - y, xs - x), np.float32)


def _photograph(grey: npt.NDArray[np.floating], rng: Rng, tint: tuple[float, float, float]) -> Picture:
    """With the light of the moment, a soft lens and the sensor's noise."""
    soft = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8)[..., None] * np.asarray(tint, np.float32)
    lit = soft * rng.uniform(0.95, 1.05) + rng.normal(0, 2, (*soft.shape[:2], 3))
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
