"""Where a gate passes and where it fails, from the scores of the pictures that it learnt.

A good picture's score is taken against the other ones (leave-one-out). The logarithms of such scores are near enough to
a bell curve that Student's t foretells, from five of them or fifty, which score the next good picture stays below with
a given probability: the fewer the pictures, the wider the band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
FALSE_ALARMS = 0.02
"""Share of good pictures that may fail, where the user does not say."""
PASS_SHARE = 0.65
"""Share of good pictures that the gate passes alone: little that is broken looks more usual than most good ones. With
0.9, where all bad pictures that were shown are far away, more broken parts passed (see export/evaluation)."""
LEAST_SPREAD = 0.03
"""Of the logarithms: a handful of pictures is more alike than those of a year are."""
SUSPICIOUS_SPREADS = 4.0
"""Spreads above the median from which on a good picture may be none."""
LEAST_USUAL_SPREAD = 0.08
"""Of the logarithms, for that: the pictures of a still scene differ by less, and none of them is suspicious."""
TO_BE_SUSPICIOUS = 8
"""Pictures, of which one can stand out."""
APART = 0.8
"""AUROC of the user's bad pictures against the good ones, below which the gate cannot tell them apart."""


@dataclass(frozen=True)
class GateThresholds:
    """Scores: the gate passes below the one and fails from the other. `auroc` is NaN without bad pictures."""

    pass_below: float
    fail_above: float
    auroc: float

    @property
    def apart(self) -> bool:
        """Whether the bad pictures can be told from the good ones, as far as any were shown."""
        return not self.auroc < APART


def thresholds(good: Floats, bad: Floats, false_alarms: float) -> GateThresholds:
    """From leave-one-out scores of good pictures, and scores of bad ones (may be none).

    Bad pictures set the other end: nothing passes that is as unusual as the most usual of them. Where they cannot be
    told apart from the good ones, nothing passes.
    """
    logs = np.log(np.maximum(good.astype(np.float64), 1e-9))
    fail_above = foretold(logs, 1 - false_alarms)
    pass_below = foretold(logs, min(PASS_SHARE, 1 - false_alarms))
    separation = math.nan
    if len(bad):
        separation = float((bad[:, None] > good[None]).mean() + (bad[:, None] == good[None]).mean() / 2)
        least = float(bad.min())
        pass_below = 0.0 if separation < APART else min(pass_below, least * (1 - LEAST_SPREAD))
    return GateThresholds(pass_below, max(fail_above, pass_below * (1 + LEAST_SPREAD)), separation)


def foretold(logs: npt.NDArray[np.float64], share: float) -> float:
    """The score below which the next picture's stays with a probability of `share`."""
    count = len(logs)
    spread = max(float(logs.std(ddof=1)), LEAST_SPREAD) * math.sqrt(1 + 1 / count)
    return math.exp(float(logs.mean()) + spread * student_quantile(share, count - 1))


def student_quantile(share: float, freedom: int) -> float:
    """Of Student's t: Hill's series around the normal quantile (Communications of the ACM 13, 1970, in its simpler
    form, Abramowitz and Stegun 26.7.5), good to 1 % from four degrees of freedom on."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / float(freedom) ** (index + 1) for index, term in enumerate(terms))


def suspicious(good: Floats) -> list[int]:
    """Which of the good pictures stand out so far that they may be bad ones, the oddest first."""
    if len(good) < TO_BE_SUSPICIOUS:
        return []
    logs = np.log(np.maximum(good, 1e-9))
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), LEAST_USUAL_SPREAD)
    return [int(i) for i in np.argsort(-logs, kind="stable") if logs[i] > middle + SUSPICIOUS_SPREADS * spread]
