"""Observations of single views, and the inspection of a frame that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lineside.runtime.inspection.verdict import Defect, Region, Verdict
from lineside.runtime.timings import Counts, FinishReason, Timings


@dataclass(frozen=True)
class Observation:
    """What the model says of one view.

    Attributes:
        probabilities: of each verdict, before any calibration; empty where a report was asked for.
        defects: in pixels of the view.
        finish_reason: other than `stop` where the answer was cut off, or cannot be read.
        prompt_sha256: of the prompt's token ids, int64.
        tokens: ids that were generated behind the prompt; none where the verdict alone was wanted.
    """

    probabilities: Mapping[Verdict, float]
    defects: tuple[Defect, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts
    prompt_sha256: str = ""
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class GateObservation:
    """What the gate sees in a picture.

    Attributes:
        score: how unusual the picture is, in distances of features.
        heat: the same of every patch, `(rows, columns)`.
        region: x0, y0, x1, y1 in pixels around the most unusual place.
        verdict: `pass` or `fail` where the gate is sure; None where the full model should look.
    """

    score: float
    heat: npt.NDArray[np.float32]
    region: Region
    verdict: Literal["pass", "fail"] | None


@dataclass(frozen=True)
class Inspection:
    """What came out for a frame.

    Attributes:
        confidence: probability of the verdict; for `unsure`, of the likelier of pass and fail.
        fail_probability: probability of fail against pass, calibrated where there is a calibration.
        defects: in pixels; under `unsure` they are suspicions.
        report: JSON that satisfies the task's schema for it; None where it has none, or the answer is not complete.
        gate: what the gate saw, where there is one; `decided_by` says whether that was enough. `picture`: it shows
            nothing, and neither was asked.
        finish_reason: other than `stop` where an answer was cut off before its end, or cannot be read.
        observations: what it was made of, in the order in which the model was asked.
        looked_at: the part of the frame that was looked at; None for all of it.
        doubt: why the verdict is `unsure`, whatever the probability says; empty where the probability decided.
    """

    verdict: Verdict
    confidence: float
    fail_probability: float
    defects: tuple[Defect, ...]
    finish_reason: FinishReason
    timings: Timings
    counts: Counts
    report: Any = None
    gate: GateObservation | None = None
    decided_by: Literal["gate", "model", "picture"] = "model"
    doubt: str = ""
    observations: tuple[Observation, ...] = ()
    looked_at: Region | None = None

    @property
    def complete(self) -> bool:
        return self.finish_reason == "stop"


def nothing_shown(doubt: str) -> Inspection:
    """Of a picture that shows nothing: as likely good as bad."""
    return Inspection("unsure", 0.5, 0.5, (), "stop", Timings(), Counts(), decided_by="picture", doubt=doubt)


def confidence(verdict: Verdict, defect: float) -> float:
    """Of a verdict, where the probability of a defect is `defect`."""
    return {"pass": 1 - defect, "fail": defect, "unsure": max(defect, 1 - defect)}[verdict]
