"""The gate: is this picture like the good ones? A memory of patch features of a few good pictures answers.

Every patch of a frame is held against all patches of the good pictures, at a place near its own; the distance to the
closest is how unusual it is (after PatchCore, Roth et al., 2022). No defect has to be seen before, no training is
needed, and it takes one pass of the vision tower at a small size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from lineside.runtime.chat import Picture
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import PicturesUnsupported, TooFewPictures
from lineside.runtime.inspection.observation import GateObservation
from lineside.runtime.picture import to_pixels

Floats = npt.NDArray[np.float32]
MIN_PICTURES = 5
SIZE_SHARE = 2 / 3
"""Of the model's largest picture: the gate looks at a smaller one."""
PLACE_WEIGHT = 1.0
"""How far a patch may look for its like: a distance of the whole picture counts as this distance of features."""
SHADE_WEIGHT = 0.1
"""The distance of features as which a difference of brightness by one deviation of Pixtral's pixels counts."""
WORST_PATCHES = 3
"""A picture is as unusual as its most unusual patches are on average."""
MAX_PATCHES = 6000
SURE_PASS_SPREADS, SURE_FAIL_SPREADS = 0.0, 8.0
"""Spreads of the good pictures' scores above their mean, below which the gate passes and above which it fails."""
MIN_SPREAD = 0.25
"""As a share of the mean: a handful of pictures is more alike than the parts of a year are."""


@dataclass(frozen=True)
class GateMemory:
    """What was learnt of the good pictures.

    Attributes:
        patches: `(M, D + 4)`: see `describe`.
        good_scores: of each good picture, held against the others.
        longest: pixels of the longer side at which the tower looks.
    """

    patches: Floats
    good_scores: Floats
    longest: int

    @property
    def spread(self) -> float:
        mean = float(self.good_scores.mean())
        return max(float(self.good_scores.std(ddof=1)), MIN_SPREAD * mean)

    @property
    def pass_below(self) -> float:
        return float(self.good_scores.mean()) + SURE_PASS_SPREADS * self.spread

    @property
    def fail_above(self) -> float:
        return float(self.good_scores.mean()) + SURE_FAIL_SPREADS * self.spread


class Gate:
    """Holds the pictures of one camera against the good ones."""

    def __init__(self, engine: Engine, memory: GateMemory) -> None:
        self._engine, self.memory = engine, memory
        self._squares = np.square(memory.patches).sum(1)

    def observe(self, picture: Picture) -> GateObservation:
        """Raises EngineError where the model has no vision tower, or one without patch features."""
        described = describe(self._engine, picture, self.memory.longest)
        heat = distances(described, self.memory.patches, self._squares)
        score = picture_score(heat)
        verdict: Literal["pass", "fail"] | None = None
        if score <= self.memory.pass_below:
            verdict = "pass"
        elif score >= self.memory.fail_above:
            verdict = "fail"
        return GateObservation(score, heat, hot_region(heat, self.memory.pass_below, picture), verdict)


def learn(engine: Engine, pictures: Sequence[Picture]) -> GateMemory:
    """Remember good pictures, and how unlike each other they are.

    Raises:
        TooFewPictures: fewer than `MIN_PICTURES` that differ.
        PicturesUnsupported: the model has no vision tower.
    """
    different = len({(picture.shape, picture.tobytes()) for picture in pictures})
    if different < MIN_PICTURES:
        raise TooFewPictures(
            f"{different} different good pictures; at least {MIN_PICTURES} are needed, 10 are better, of several parts"
        )
    image = engine.bundle.manifest.image
    if image is None:
        raise PicturesUnsupported(f"the model {engine.bundle.manifest.name} takes text only")
    longest = round(image.max_image_size * SIZE_SHARE)
    described = [describe(engine, picture, longest) for picture in pictures]
    scores = []
    for index, own in enumerate(described):
        others = np.concatenate([flat(other) for at, other in enumerate(described) if at != index])
        scores.append(picture_score(distances(own, others, np.square(others).sum(1))))
    patches = np.concatenate([flat(one) for one in described])
    if len(patches) > MAX_PATCHES:
        patches = patches[np.random.default_rng(0).permutation(len(patches))[:MAX_PATCHES]]
    return GateMemory(patches, np.asarray(scores, np.float32), longest)


def describe(engine: Engine, picture: Picture, longest: int) -> Floats:
    """Every patch: the tower's features of length 1, its darkest and its brightest pixel, and its place,
    `(rows, columns, D + 4)`.

    A tower that never saw such a part may overlook a hair of another shade; the two pixels do not.
    """
    image = engine.bundle.manifest.image
    if image is None or engine.vision_cache is None:
        raise PicturesUnsupported(f"the model {engine.bundle.manifest.name} takes text only")
    pixels = to_pixels(picture, longest, image)
    with engine.watched():
        features = engine.vision_cache.features(pixels)
    rows, columns = features.shape[:2]
    features = features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-6)
    shades = pixels.mean(0).reshape(rows, image.patch_size, columns, image.patch_size)
    extremes = np.stack([shades.min((1, 3)), shades.max((1, 3))], -1) * SHADE_WEIGHT
    longer = max(rows, columns)
    place = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1) * (PLACE_WEIGHT / longer)
    return np.concatenate([features, extremes, place], -1, dtype=np.float32)


def distances(described: Floats, patches: Floats, squares: Floats) -> Floats:
    """Of every patch to the closest of `patches` `(M, D + 4)` with squared lengths `squares`: `(rows, columns)`.

    On one thread: numpy's own, which wait for more work in a loop, would take the cores from the vision tower's, and it
    would take three times as long.
    """
    own = flat(described)
    with _blas().limit(limits=1, user_api="blas"):
        closest = (squares - 2 * (own @ patches.T)).min(1) + np.square(own).sum(1)
    return np.asarray(np.sqrt(np.maximum(closest, 0)), np.float32).reshape(described.shape[:2])


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def picture_score(heat: Floats) -> float:
    """Mean of the most unusual patches."""
    return float(np.sort(heat, axis=None)[-WORST_PATCHES:].mean())


def hot_region(heat: Floats, usual: float, picture: Picture) -> tuple[float, float, float, float]:
    """Around the hottest patch, as far as its neighbours are unusual too, with a patch of margin; in pixels."""
    rows, columns = heat.shape
    hot = heat >= min(usual, float(heat.max()))
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    top, bottom, left, right = int(row), int(row) + 1, int(column), int(column) + 1
    while True:
        around = np.s_[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
        ys, xs = np.nonzero(hot[around])
        y, x = max(top - 1, 0), max(left - 1, 0)
        grown = (min(top, y + int(ys.min())), max(bottom, y + int(ys.max()) + 1),
                 min(left, x + int(xs.min())), max(right, x + int(xs.max()) + 1))  # fmt: skip
        if grown == (top, bottom, left, right):
            break
        top, bottom, left, right = grown
    top, left, bottom, right = max(top - 1, 0), max(left - 1, 0), min(bottom + 1, rows), min(right + 1, columns)
    sx, sy = picture.shape[1] / columns, picture.shape[0] / rows
    return round(left * sx, 1), round(top * sy, 1), round(right * sx, 1), round(bottom * sy, 1)


def flat(described: Floats) -> Floats:
    """`(rows, columns, D)` to `(N, D)`."""
    return np.ascontiguousarray(described.reshape(-1, described.shape[-1]))
