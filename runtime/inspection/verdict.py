"""What came out of an inspection, and how probabilities become a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lineside.runtime.engine.sequence import Counts
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.gate import Look
from lineside.runtime.inspection.task import Defect, Verdict
from lineside.runtime.timings import FinishReason, Timings


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


@dataclass(frozen=True)
class Inspection:
    """What came out.

    Attributes:
        confidence: probability of the verdict; for `unsure`, of the likelier of pass and fail.
        fail_probability: probability of fail against pass, calibrated where there is a calibration.
        defects: in pixels; under `unsure` they are suspicions.
        report: JSON that satisfies the task's schema for it; None where it has none, or the answer is not complete.
        look: what the gate saw, where there is one; `decided_by` says whether that was enough.
        finish_reason: other than `stop` where an answer was cut off before its end, or cannot be read.
    """

    verdict: Verdict
    confidence: float
    fail_probability: float
    defects: tuple[Defect, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts
    report: Any = None
    look: Look | None = None
    decided_by: Literal["gate", "model"] = "model"

    @property
    def complete(self) -> bool:
        return self.finish_reason == "stop"


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
