"""Figures of merit: areas under curves, and accuracy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def auroc(scores: Floats, positive: Labels) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    above = (scores[positive][:, None] > scores[~positive][None]).mean()
    equal = (scores[positive][:, None] == scores[~positive][None]).mean()
    return float(above + 0.5 * equal)


def balanced_accuracy(scores: Floats, positive: Labels, threshold: float) -> float:
    """Mean of the hit rates on both classes."""
    return float(((scores[positive] >= threshold).mean() + (scores[~positive] < threshold).mean()) / 2)
