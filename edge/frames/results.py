"""From an inspection to the message on `result/{camera}`."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.devices.cameras.frame import Frame
from lineside.edge.wire.messages import InspectionResult, WireModel, WireTimings
from lineside.edge.wire.views import WireDefect, WireGate
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.timings import Timings


@dataclass(frozen=True)
class Clock:
    """Milliseconds from a frame's capture to the start of its work, and to its finished inspection."""

    queue_ms: float
    total_ms: float


def to_result(
    frame: Frame,
    inspection: Inspection,
    inspector: Inspector | GatedInspector,
    model: WireModel,
    clock: Clock,
    max_age_s: float,
) -> InspectionResult:
    """The message; `late` where the frame is older than `max_age_s`."""
    reported = inspector.task.report is not None and inspection.complete
    return InspectionResult(
        id=frame.id,
        camera=frame.camera,
        name=frame.name,
        part_id=frame.part_id,
        captured_at=frame.captured_at,
        verdict=inspection.verdict,
        confidence=round(inspection.confidence, 4),
        fail_probability=round(inspection.fail_probability, 4),
        calibrated=inspector.calibration is not None and inspection.decided_by == "model",
        defects=[WireDefect(type=defect.type, box=defect.box) for defect in inspection.defects],
        complete=inspection.complete,
        finish_reason=inspection.finish_reason if not inspection.complete else None,
        model=model,
        timing_ms=_timings(inspection.timings, clock),
        frame_sha256=frame.digest(),
        **({"report": inspection.report} if reported else {}),
        decided_by=inspection.decided_by,
        doubt=inspection.doubt or None,
        gate=_gate(inspection, inspector),
        max_side=frame.max_side or None,
        late=True if clock.total_ms > max_age_s * 1e3 else None,
    )


def _timings(timings: Timings, clock: Clock) -> WireTimings:
    stages = {
        "queue": clock.queue_ms + timings.queue_ms,
        "gate": timings.gate_ms,
        "preprocess": timings.preprocess_ms,
        "vision": timings.vision_ms,
        "prefill": timings.prefill_ms,
        "decode": timings.decode_ms,
        "total": clock.total_ms,
    }
    return WireTimings(**{name: round(value, 2) for name, value in stages.items()})


def _gate(inspection: Inspection, inspector: Inspector | GatedInspector) -> WireGate | None:
    seen = inspection.gate
    if seen is None or not isinstance(inspector, GatedInspector):
        return None
    memory = inspector.gate.memory
    score, low, high = (round(value, 4) for value in (seen.score, memory.pass_below, memory.fail_above))
    return WireGate(score=score, pass_below=low, fail_above=high, region=seen.region)
