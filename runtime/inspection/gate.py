"""The gate: is this picture like the good ones? A memory of patch features of a few good pictures answers.

Every patch of a frame is held against the patches of the good pictures; the distance to the nearest is how unusual it
is (after PatchCore, Roth et al., 2022). No defect has to be seen before, no training is needed, and no model is asked:
the features are those of a small frozen network, so that the gate works whatever the station's model is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.gate_memory import GateMemory, picture_score
from lineside.runtime.inspection.observation import GateObservation

if TYPE_CHECKING:
    from lineside.runtime.sessions.patch_features import PatchFeatures

Floats = npt.NDArray[np.float32]


class Gate:
    """Holds the pictures of one camera against the good ones."""

    def __init__(self, features: PatchFeatures, memory: GateMemory) -> None:
        self._features, self.memory = features, memory
        self._squares = np.square(memory.patches).sum(1)

    def observe(self, picture: Picture) -> GateObservation:
        """Raises DeviceFailed where a pass fails."""
        memory = self.memory
        heat = self._features.distances(self._features.describe(picture), memory.patches, self._squares)
        score = picture_score(heat)
        verdict: Literal["pass", "fail"] | None = None
        if score <= memory.pass_below:
            verdict = "pass"
        elif score >= memory.fail_above:
            verdict = "fail"
        return GateObservation(score, heat, hot_region(heat, memory.pass_below, picture), verdict)


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
