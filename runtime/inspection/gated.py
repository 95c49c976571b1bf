"""An inspector behind a gate: the gate decides alone where it is sure, the full model inspects the rest."""

from __future__ import annotations

import math
from dataclasses import replace

from lineside.runtime.chat import Picture
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.inspection.gate import Gate
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import GateObservation, Inspection
from lineside.runtime.inspection.verdict import Defect
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
        self.engine = inspector.engine

    def inspect(self, picture: Picture, request: Request | None = None) -> Inspection:
        """Inspect one picture. See `Inspector.inspect`; the result says in `gate` what the gate saw.

        A frame that the gate doubts goes to the model with the region that it doubts. Where the model then sees
        nothing in a picture that is nearer to a clear fail than to a clear pass, the verdict is `unsure`. A report is
        the model's work: a task with one goes to the model whatever the gate thinks.
        """
        timings = Timings()
        with stopwatch(timings, "gate"):
            seen = self.gate.observe(picture)
        probability = gate_probability(seen, self.gate)
        if seen.verdict is not None and self.task.report is None:
            defects = (Defect(ANOMALY, seen.region),) if seen.verdict == "fail" else ()
            confidence = probability if seen.verdict == "fail" else 1 - probability
            return Inspection(
                seen.verdict, confidence, probability, defects, "stop", timings, Counts(), gate=seen, decided_by="gate"
            )
        found = self._inspector.inspect(picture, request, seen.region)
        found.timings.gate_ms = timings.gate_ms
        if found.verdict == "pass" and probability > 0.5:
            suspicion = (Defect(ANOMALY, seen.region),)
            return replace(found, verdict="unsure", defects=suspicion, gate=seen)
        return replace(found, gate=seen)


def gate_probability(seen: GateObservation, gate: Gate) -> float:
    """A logistic curve through the two thresholds. It is no frequency: nothing was counted on defective parts."""
    low, high = gate.memory.pass_below, gate.memory.fail_above
    steepness = 2 * math.log(SURE / (1 - SURE)) / (high - low)
    return 1 / (1 + math.exp(-max(min(steepness * (seen.score - (low + high) / 2), 30.0), -30.0)))
