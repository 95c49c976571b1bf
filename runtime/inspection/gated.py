"""An inspector behind a gate: the gate decides alone where it is sure, the full model looks at the rest."""

from __future__ import annotations

import math
from dataclasses import replace

from lineside.runtime.chat import Picture
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.engine.sequence import Counts
from lineside.runtime.inspection.gate import Gate, Look
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import Defect
from lineside.runtime.inspection.verdict import Inspection
from lineside.runtime.timings import Timings, stopwatch

ANOMALY = "anomaly"
"""Type of what the gate finds: it cannot tell one kind of defect from another."""
SURE = 0.98
"""The probability that a score at the upper threshold stands for; at the lower one it is what is left."""


class GatedInspector:
    """The interface of `Inspector`, with a gate before it."""

    def __init__(self, inspector: Inspector, gate: Gate) -> None:
        self._inspector, self.gate = inspector, gate
        self.task, self.calibration = inspector.task, inspector.calibration

    def inspect(self, picture: Picture, request: Request | None = None) -> Inspection:
        """Look at one picture. See `Inspector.inspect`; the result says in `look` what the gate saw.

        A frame that the gate doubts goes to the model with the region that it doubts. Where the model then sees
        nothing in a picture that is nearer to a clear fail than to a clear pass, the verdict is `unsure`. A report is
        the model's work: a task with one goes to the model whatever the gate thinks.
        """
        timings = Timings()
        with stopwatch(timings, "gate"):
            look = self.gate.look(picture)
        probability = gate_probability(look, self.gate)
        if look.verdict is not None and self.task.report is None:
            defects = (Defect(ANOMALY, look.region),) if look.verdict == "fail" else ()
            confidence = probability if look.verdict == "fail" else 1 - probability
            return Inspection(
                look.verdict, confidence, probability, defects, "stop", timings, Counts(), look=look, decided_by="gate"
            )
        found = self._inspector.inspect(picture, request, look.region)
        found.timings.gate_ms = timings.gate_ms
        if found.verdict == "pass" and probability > 0.5:
            suspicion = (Defect(ANOMALY, look.region),)
            return replace(found, verdict="unsure", defects=suspicion, look=look)
        return replace(found, look=look)


def gate_probability(look: Look, gate: Gate) -> float:
    """A logistic curve through the two thresholds. It is no frequency: nothing was counted on defective parts."""
    low, high = gate.memory.pass_below, gate.memory.fail_above
    steepness = 2 * math.log(SURE / (1 - SURE)) / (high - low)
    return 1 / (1 + math.exp(-max(min(steepness * (look.score - (low + high) / 2), 30.0), -30.0)))
