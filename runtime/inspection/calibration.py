"""Probabilities that mean what they say: fitted to labelled pictures of one station.

A model's own probability of a defect is off by a scale and a shift wherever light, parts or their mix differ from what
it was trained on. Platt scaling (Platt, 1999) puts both right: `sigmoid(scale * logit(p) + offset)`. With an offset of
0 it is temperature scaling (Guo et al., 2017) at a temperature of `1 / scale`. Thresholds then follow from what a
missed defect, a false alarm and a person's look cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.runtime.errors import NotSeparable

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
CLIP = 1e-7
BINS = 10
FOLDS = 5
MIN_PER_CLASS = 5
_NEWTON_STEPS = 100
_SAME = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Maps a model's probability of a defect to a calibrated one."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, probability: float) -> float:
        return float(self.apply(np.asarray([probability]))[0])

    def apply(self, probabilities: Floats) -> Floats:
        """`(N,)` to `(N,)`."""
        return _sigmoid(self.scale * _logit(probabilities) + self.offset)


@dataclass(frozen=True)
class Costs:
    """In false alarms: what a missed defect costs, and what it costs that a person looks at an `unsure`."""

    missed_defect: float = 10.0
    look: float = 0.25

    def thresholds(self) -> tuple[float, float]:
        """On the calibrated probability of a defect: below the first `pass`, above the second `fail`, and in between
        `unsure`. No other verdict has a lower expected cost.
        """
        even = 1 / (self.missed_defect + 1)  # here a pass costs as much as a fail
        if self.look >= self.missed_defect * even:
            return even, even
        return self.look / self.missed_defect, 1 - self.look


def fit(probabilities: Floats, defective: Labels) -> Calibration:
    """Maximum likelihood with Platt's smoothed targets, which keep it finite however few the pictures are.

    Args:
        probabilities: of a defect, by the model, `(N,)`.
        defective: the labels, `(N,)`, both kinds present.

    Raises:
        NotSeparable: the probability does not rise with the labels, or is the same for all pictures.
    """
    scores = _logit(probabilities)
    if np.ptp(scores) < _SAME:  # any scale would fit as well
        raise NotSeparable("the model gives every picture the same probability of a defect: check the defect types")
    bad, good = int(defective.sum()), int((~defective).sum())
    targets = np.where(defective, (bad + 1) / (bad + 2), 1 / (good + 2))
    x = np.stack([scores, np.ones(len(scores))])  # (2, N)
    weights = np.asarray([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(weights @ x)
        gradient = x @ (p - targets)
        hessian = (x * (p * (1 - p))) @ x.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        before = _loss(weights, x, targets)
        while _loss(weights - step, x, targets) > before and np.abs(step).max() > 1e-12:
            step /= 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    if weights[0] <= 0:
        raise NotSeparable("the model does not see this defect: its probability does not rise with the labels")
    return Calibration(float(weights[0]), float(weights[1]))


def folds_of(defective: Labels, folds: int = FOLDS) -> npt.NDArray[np.int64]:
    """The fold of each picture, `(N,)`: runs of neighbours within a class, since frames that follow each other are
    nearly the same picture.
    """
    fold = np.empty(len(defective), np.int64)
    for kind in (True, False):
        members = np.flatnonzero(defective == kind)
        fold[members] = np.arange(len(members)) * min(folds, len(members)) // max(len(members), 1)
    return fold


def cross_validated(probabilities: Floats, defective: Labels, folds: int = FOLDS) -> Floats:
    """Each picture's calibrated probability by a fit that has not seen it, `(N,)`.

    Raises:
        NotSeparable: the probability does not rise with the labels of the pictures outside some fold.
    """
    fold = folds_of(defective, folds)
    out = np.empty(len(defective))
    for index in range(folds):
        held = fold == index
        if not held.any():
            continue
        try:
            fitted = fit(probabilities[~held], defective[~held])
        except NotSeparable as error:
            raise NotSeparable(
                f"the fit does not hold: with {int(held.sum())} of {len(held)} pictures left out, {error}. "
                "Check the labels, and add pictures"
            ) from error
        out[held] = fitted.apply(probabilities[held])
    return out


@dataclass(frozen=True)
class Bin:
    """Pictures whose probability falls into one tenth: their number, mean probability, and share of defective ones."""

    count: int
    probability: float
    defective: float


def reliability(probabilities: Floats, defective: Labels, bins: int = BINS) -> list[Bin]:
    """Bins of equal width that are not empty, in order."""
    index = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    return [
        Bin(int(members.sum()), float(probabilities[members].mean()), float(defective[members].mean()))
        for members in (index == i for i in range(bins))
        if members.any()
    ]


def expected_calibration_error(probabilities: Floats, defective: Labels) -> float:
    """Mean distance of probability and share of defective pictures over the bins (Guo et al., 2017)."""
    bins = reliability(probabilities, defective)
    return sum(b.count * abs(b.probability - b.defective) for b in bins) / len(probabilities)


def brier_score(probabilities: Floats, defective: Labels) -> float:
    """Mean squared error (Brier, 1950)."""
    return float(((probabilities - defective) ** 2).mean())


def log_loss(probabilities: Floats, defective: Labels) -> float:
    """Mean negative log likelihood of the labels, in nats."""
    clipped = np.clip(probabilities, CLIP, 1 - CLIP)
    return float(-np.log(np.where(defective, clipped, 1 - clipped)).mean())


@dataclass(frozen=True)
class Decisions:
    """What two thresholds would have decided: how many pictures passed, failed or were `unsure`, how many of them
    wrongly, and the mean cost of a picture in false alarms.
    """

    passed: int
    missed: int
    failed: int
    false_alarms: int
    unsure: int
    cost: float

    @classmethod
    def of(cls, passed: int, missed: int, failed: int, false_alarms: int, unsure: int, costs: Costs) -> Decisions:
        cost = missed * costs.missed_defect + false_alarms + unsure * costs.look
        return cls(passed, missed, failed, false_alarms, unsure, cost / max(passed + failed + unsure, 1))

    @property
    def pictures(self) -> int:
        return self.passed + self.failed + self.unsure


def decide(
    probabilities: Floats,
    defective: Labels,
    thresholds: tuple[float, float],
    costs: Costs,
    abstained: Labels | None = None,
) -> Decisions:
    """Count the outcomes of `pass` at or below the first threshold and `fail` at or above the second.

    Args:
        abstained: pictures on which the model itself says `unsure`, whatever the thresholds, `(N,)`; None for none.
    """
    sure = np.ones(len(defective), bool) if abstained is None else ~abstained
    failed = sure & (probabilities >= thresholds[1])
    passed = sure & ~failed & (probabilities <= thresholds[0])
    missed, alarms = int((passed & defective).sum()), int((failed & ~defective).sum())
    unsure = int((~failed & ~passed).sum())
    return Decisions.of(int(passed.sum()), missed, int(failed.sum()), alarms, unsure, costs)


def _loss(weights: Floats, x: Floats, targets: Floats) -> float:
    scores = weights @ x
    return float((np.logaddexp(0, scores) - targets * scores).sum())


def _sigmoid(scores: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-np.clip(scores, -500, 500)))
    return out


def _logit(probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, CLIP, 1 - CLIP)
    out: Floats = np.log(clipped / (1 - clipped))
    return out
