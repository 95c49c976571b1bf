"""One result from those of several views of a part."""

from __future__ import annotations

from collections.abc import Sequence

from lineside.edge.frames.part import Part
from lineside.edge.wire.messages import InspectionResult, Verdict, WireModel, WireTimings
from lineside.edge.wire.views import WireDefect, WireMissing, WireView
from lineside.runtime.inspection.observation import confidence

STAGES = ("gate", "preprocess", "vision", "prefill", "decode")
WORST_FIRST: tuple[Verdict, ...] = ("fail", "unsure", "pass")


def verdict_of(views: Sequence[Verdict], missing: int) -> Verdict:
    """`fail` where any is, `pass` where all are and none is missing."""
    if "fail" in views:
        return "fail"
    return "unsure" if missing or not views or "unsure" in views else "pass"


def worst(views: Sequence[InspectionResult]) -> InspectionResult:
    """The view that tells most about the part: the surest `fail`, else an `unsure`, else the least sure `pass`."""
    return min(views, key=lambda view: (WORST_FIRST.index(view.verdict), -view.fail_probability))


def combined(
    part: Part,
    views: Sequence[InspectionResult],
    missing: Sequence[WireMissing],
    model: WireModel,
    evidence: Sequence[str | None],
    clock: tuple[float, float],
    max_age_s: float,
) -> InspectionResult:
    """The result of the whole part.

    Args:
        views: results of single views, each with the camera's name; `evidence` are the names of their drawn pictures.
        clock: `time.monotonic()` where the work on the views began and ended.
    """
    begun, ended = clock
    total_ms = (ended - part.received) * 1e3
    verdict = verdict_of([view.verdict for view in views], len(missing))
    fail = max((view.fail_probability for view in views), default=0.5)
    deciding = worst(views) if views else None
    doubts = [f"{view.camera}: {view.doubt}" for view in views if view.doubt]
    doubts += [f"{one.camera}: {one.reason}" for one in missing]
    one = views[0] if len(views) == 1 and not missing else None
    extra = {"report": one.report} if one is not None and "report" in one.model_fields_set else {}
    return InspectionResult(
        id=part.id,
        camera=part.camera,
        part_id=part.part_id,
        captured_at=min((view.captured_at for view in views), default=part.captured_at),
        verdict=verdict,
        confidence=_confidence(verdict, views, fail),
        fail_probability=fail,
        calibrated=bool(views) and not missing and all(view.calibrated for view in views),
        defects=[found.model_copy(update={"camera": view.camera}) for view in views for found in view.defects],
        complete=bool(views) and all(view.complete for view in views),
        finish_reason=next((view.finish_reason for view in views if view.finish_reason), None),
        model=model,
        timing_ms=_timings(part, views, begun, total_ms),
        frame_sha256=views[0].frame_sha256 if views else "",
        late=True if total_ms > max_age_s * 1e3 else None,
        decided_by=deciding.decided_by if deciding is not None else "picture",
        doubt="; ".join(doubts) if doubts and verdict == "unsure" else None,
        gate=one.gate if one is not None else None,
        trigger=part.trigger,
        views=[_view(view, drawn) for view, drawn in zip(views, evidence, strict=True)],
        missing=list(missing),
        **extra,
    )


def _confidence(verdict: Verdict, views: Sequence[InspectionResult], fail: float) -> float:
    """That of the view that decided; where a missing one did, of what the others say."""
    deciding = [view.confidence for view in views if view.verdict == verdict]
    if not deciding:
        return round(confidence("unsure", fail), 4)
    return max(deciding) if verdict == "fail" else min(deciding)


def _timings(part: Part, views: Sequence[InspectionResult], begun: float, total_ms: float) -> WireTimings:
    """A picture may be older than its trigger: that of a folder, one that came just before."""
    captured = max([part.received, *(view.received for view in part.views)])
    spent = {stage: sum(getattr(view.timing_ms, stage) for view in views) for stage in STAGES}
    until_ms, queue_ms = (captured - part.received) * 1e3, max(begun - captured, 0.0) * 1e3
    stages = {"queue": queue_ms, **spent, "total": total_ms, "trigger": until_ms}
    return WireTimings(**{name: round(value, 2) for name, value in stages.items()})


def _view(view: InspectionResult, evidence: str | None) -> WireView:
    same = {
        name: getattr(view, name)
        for name in WireView.model_fields
        if name in InspectionResult.model_fields and (name != "report" or name in view.model_fields_set)
    }
    same["defects"] = [WireDefect(type=found.type, box=found.box, camera=view.camera) for found in view.defects]
    return WireView(**same, evidence=evidence)
