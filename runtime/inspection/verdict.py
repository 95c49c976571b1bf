"""How probabilities become a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lineside.runtime.inspection.calibration import Calibration

Region = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""
Verdict = Literal["pass", "fail", "unsure"]
VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "unsure")


@dataclass(frozen=True)
class Defect:
    """A defect of kind `type`; `box` is x0, y0, x1, y1 in pixels of the picture."""

    type: str
    box: Region


@dataclass(frozen=True)
class Thresholds:
    """Where `pass` ends and `fail` begins on the probability of a defect; between them the verdict is `unsure`."""

    pass_below: float = 0.35
    fail_above: float = 0.65

    def verdict(self, defect: float) -> Verdict:
        """By the probability of a defect."""
        if defect >= self.fail_above:
            return "fail"
        return "pass" if defect <= self.pass_below else "unsure"


def fail_probability(probabilities: Mapping[Verdict, float]) -> float:
    """Fail against pass, leaving `unsure` out."""
    return probabilities["fail"] / max(probabilities["fail"] + probabilities["pass"], 1e-12)


def abstains(probabilities: Mapping[Verdict, float]) -> bool:
    """Whether the model itself would rather say `unsure`."""
    return probabilities["unsure"] > max(probabilities["pass"], probabilities["fail"])


def judge(
    probabilities: Mapping[Verdict, float], thresholds: Thresholds, calibration: Calibration | None
) -> tuple[Verdict, float]:
    """The verdict, and the probability of a defect; `unsure` also where the model itself would rather say so."""
    defect = fail_probability(probabilities)
    if calibration is not None:
        defect = calibration(defect)
    if abstains(probabilities):
        return "unsure", defect
    return thresholds.verdict(defect), defect
