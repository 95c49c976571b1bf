"""Whether a camera's pictures are still as the good ones were: medians over the last pictures, held against bounds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from lineside.runtime.inspection.gate_memory import GateMemory
from lineside.runtime.inspection.picture_figures import PictureFigures
from lineside.runtime.inspection.usual import Usual

Change = Literal["brightness", "sharpness", "position", "gate_score", "unsure"]
"""What can change."""
PICTURES = 21
"""The last pictures, whose median counts: one odd picture says nothing."""
VERDICTS = 50
"""The last verdicts, among which the share of `unsure` is taken."""
DARKER = 0.75
"""The brightness may fall to so much of the usual one, and rise by its inverse."""
BLURRED = 0.55
"""So much of the usual sharpness must be left."""
LEAST_MOVE = 5.0
"""Pixels by which a camera may have moved."""
FARTHER = 1.5
"""A camera has moved when its pictures are so much farther off than any good one was."""
FREE = 0.1
"""Of the longer side: where that is more, the parts lie so freely that no movement of the camera can be told."""
PLAIN = 0.3
"""Likeness of all good pictures to each other, from which on a picture of something else can be told."""
ELSE = 1 / 3
"""Of the least likeness of a good picture: below it, something else is shown."""
MARGIN = 0.1
"""By so much pictures may go beyond what the good ones did in brightness, and by twice as much in sharpness."""
MORE_UNSURE = 0.4
"""The share of `unsure` may be so much above the expected one."""
OVER = 0.75
"""A change is over when its figure is back within so much of the way to the bound."""


@dataclass(frozen=True)
class GateUsual:
    """What a gate's scores are held against: the median of the good pictures, and the bound."""

    median: float
    most: float
    unsure: float


@dataclass(frozen=True)
class DriftFigures:
    """Medians over the last pictures, and a share; None where there were too few, or nothing is known to compare with.

    Attributes:
        brightness, sharpness: 1 is as usual.
        right, down: pixels by which the scene is elsewhere.
        likeness: to the good pictures.
        unsure: share.
    """

    brightness: float | None = None
    sharpness: float | None = None
    right: float | None = None
    down: float | None = None
    likeness: float | None = None
    gate_score: float | None = None
    unsure: float | None = None


def gate_usual(memory: GateMemory) -> GateUsual:
    """The bound is where a picture fails, and no less than a good one had. The share of `unsure` among a few good
    pictures is taken to be nearer to one half than it was (Agresti and Coull, 1998)."""
    good = memory.good_scores
    between = int(((good > memory.pass_below) & (good < memory.fail_above)).sum())
    return GateUsual(float(np.median(good)), max(memory.fail_above, float(good.max())), (between + 2) / (len(good) + 4))


def farthest(usual: Usual) -> float:
    """Pixels by which the camera's pictures may be off; infinite where that says nothing, as parts lie freely."""
    if not usual.small.size:
        return math.inf
    least = max(LEAST_MOVE, usual.size[0] / usual.small.shape[1], FARTHER * usual.farthest)
    return least if least <= FREE * max(usual.size) else math.inf


class Drift:
    """Takes in a camera's pictures, one after another.

    Attributes:
        figures: as they are now.
        changed: what is beyond its bound, and not yet back.
    """

    def __init__(self, usual: Usual, gate: GateUsual | None) -> None:
        self.usual, self.gate = usual, gate
        self.figures = DriftFigures()
        self.changed: frozenset[Change] = frozenset()
        self.farthest = farthest(usual)
        self.expected_unsure = usual.unsure if gate is None else gate.unsure
        self._last: dict[str, deque[float]] = {}

    @property
    def elsewhere(self) -> bool:
        """Whether the camera shows something else than the good pictures, so that no distance can be told."""
        return self._likeness() >= 1

    def add(self, figures: PictureFigures, score: float | None, *, unsure: bool, blank: bool) -> None:
        """Take in a picture with its gate's score and verdict; of a `blank` one the brightness alone counts."""
        self._put("brightness", figures.brightness / max(self.usual.brightness[1], 1.0))
        self._put("unsure", float(unsure), VERDICTS)
        if score is not None:
            self._put("gate_score", score)
        if not blank and figures.size == self.usual.size:
            if self.usual.sharpness[1]:
                self._put("sharpness", figures.sharpness / self.usual.sharpness[1])
            if math.isfinite(self.farthest) and (off := self.usual.offset(figures)) is not None:
                self._put("right", off.right)
                self._put("down", off.down)
                self._put("likeness", off.likeness)
        self.figures = DriftFigures(**dict(self._medians()))
        ways = {"brightness": self._brightness(), "sharpness": self._sharpness(), "position": self._position(),
                "gate_score": self._gate_score(), "unsure": self._unsure()}  # fmt: skip
        self.changed = frozenset(
            name for name, way in _changes(ways) if way >= 1 or (way > OVER and name in self.changed)
        )

    def _put(self, name: str, value: float, most: int = PICTURES) -> None:
        self._last.setdefault(name, deque(maxlen=most)).append(value)

    def _medians(self) -> Iterable[tuple[str, float]]:
        for name, values in self._last.items():
            if len(values) == values.maxlen:
                yield name, sum(values) / len(values) if name == "unsure" else median(values)

    # How far each figure is on its way to the bound: 0 as usual, 1 at the bound

    def _brightness(self) -> float:
        found, (low, usual, high) = self.figures.brightness, self.usual.brightness
        if found is None:
            return 0.0
        usual = max(usual, 1.0)
        if found < 1:
            return _way(found, min(DARKER, (1 - MARGIN) * low / usual))
        return _way(found, max(1 / DARKER, (1 + MARGIN) * high / usual))

    def _sharpness(self) -> float:
        found, (low, usual) = self.figures.sharpness, self.usual.sharpness
        if found is None or found >= 1:
            return 0.0
        return _way(found, min(BLURRED, (1 - 2 * MARGIN) * low / usual))

    def _position(self) -> float:
        right, down = self.figures.right, self.figures.down
        if right is None or down is None:
            return 0.0
        return max(math.hypot(right, down) / self.farthest, self._likeness())

    def _likeness(self) -> float:
        found, least = self.figures.likeness, self.usual.likeness
        return 0.0 if found is None or least < PLAIN or found >= least else _way(found / least, ELSE)

    def _gate_score(self) -> float:
        found, gate = self.figures.gate_score, self.gate
        if found is None or gate is None or gate.most <= gate.median:
            return 0.0
        return (found - gate.median) / (gate.most - gate.median)

    def _unsure(self) -> float:
        return (self.figures.unsure or 0.0) / (self.expected_unsure + MORE_UNSURE)


def _way(found: float, bound: float) -> float:
    """Of a ratio, whose usual value is 1, to its bound."""
    return math.log(max(found, 1e-3)) / math.log(max(bound, 1e-3))


def _changes(ways: dict[str, float]) -> list[tuple[Change, float]]:
    names: tuple[Change, ...] = ("brightness", "sharpness", "position", "gate_score", "unsure")
    return [(name, ways[name]) for name in names]
