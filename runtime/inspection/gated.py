"""An inspector behind a gate: the gate decides alone where it is sure, the full model inspects the rest."""

from __future__ import annotations

import math
from dataclasses import replace

from lineside.runtime.chat import Picture
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.inspection.bounds import blank
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import GateObservation, Inspection, confidence, nothing_shown
from lineside.runtime.inspection.verdict import Defect, Verdict
from lineside.runtime.timings import Counts, Timings, stopwatch

ANOMALY = "anomaly"
"""Type of what the gate finds: it cannot tell one kind of defect from another."""
SURE = 0.98
"""The probability that a score at the upper threshold stands for; at the lower one it is what is left."""


class GatedInspector:
    """The interface of `Inspector`, with a gate before it."""

    def __init__(self, inspector: Inspector, gate: Gate) -> None:
        self._inspector, self.gate = inspector, gate
        self.task, self.calibration, self.thresholds = inspector.task, inspector.calibration, inspector.thresholds
        self.engine, self.colors = inspector.engine, inspector.colors
        self.not_taught = ""
        """The gate vouches for the camera; what it doubts is `unsure` where the model was not taught the task."""

    def inspect(self, picture: Picture, request: Request | None = None, *, max_side: int = 0) -> Inspection:
        """Inspect one upright frame. See `Inspector.inspect`; the result says in `gate` what the gate saw.

        A frame that the gate doubts goes to the model with the region that it doubts. Where the model then sees
        nothing in a picture that is nearer to a clear fail than to a clear pass, the verdict is `unsure`. A model that
        was not taught the task is not asked: what the gate doubts is `unsure`. A report is the model's work, and the
        verdict behind which it is written stays the gate's where the gate is sure.
        """
        preparation = self.task.preparation
        return preparation.in_frame(self._inspect_part(preparation.part(picture), request, max_side))

    def _inspect_part(self, picture: Picture, request: Request | None, max_side: int) -> Inspection:
        if empty := blank(picture):
            return nothing_shown(empty)
        timings = Timings()
        with stopwatch(timings, "gate"):
            seen = self.gate.observe(picture)
        probability = gate_probability(seen, self.gate)
        by_gate = _by_gate(seen, probability, timings, self._inspector.not_taught)
        if by_gate is not None:
            request = request or Request(Priority.FRAME)
            return self._inspector.report(picture, by_gate, request, seen.region, max_side=max_side)
        found = self._inspector.inspect_part(picture, request, seen.region, max_side=max_side)
        found.timings.gate_ms = timings.gate_ms
        if found.verdict == "pass" and probability > 0.5:
            suspicion = (Defect(ANOMALY, seen.region),)
            return replace(found, verdict="unsure", defects=suspicion, gate=seen)
        return replace(found, gate=seen)


def _by_gate(seen: GateObservation, probability: float, timings: Timings, not_taught: str) -> Inspection | None:
    """What the gate decides alone; None where the model decides."""
    verdict: Verdict = seen.verdict or "unsure"
    if seen.verdict is None and not not_taught:
        return None
    return Inspection(
        verdict,
        confidence(verdict, probability),
        probability,
        () if verdict == "pass" else (Defect(ANOMALY, seen.region),),
        "stop",
        timings,
        Counts(),
        gate=seen,
        decided_by="gate",
        doubt=f"the gate is not sure, and {not_taught}" if verdict == "unsure" else "",
    )


def gate_probability(seen: GateObservation, gate: Gate) -> float:
    """A logistic curve through the two thresholds. It is no frequency: nothing was counted on defective parts."""
    low, high = gate.memory.pass_below, gate.memory.fail_above
    steepness = 2 * math.log(SURE / (1 - SURE)) / (high - low)
    return 1 / (1 + math.exp(-max(min(steepness * (seen.score - (low + high) / 2), 30.0), -30.0)))
