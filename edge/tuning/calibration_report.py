"""A calibration in words, for the terminal."""

from __future__ import annotations

from lineside.edge.tuning.calibrate import Report, Side


def lines(report: Report) -> list[str]:
    """A table of both sides, and what is to be known about it."""
    good, bad = int((~report.defective).sum()), int(report.defective.sum())
    c = report.calibration
    out = [
        f"pictures    {good} good, {bad} defective" + (f", {report.skipped} left out" if report.skipped else ""),
        f"cameras     {', '.join(report.cameras)}",
        f"fitted      sigmoid({c.scale:.3f} * logit(p) {'-' if c.offset < 0 else '+'} {abs(c.offset):.3f}); "
        f"temperature {1 / c.scale:.3f}",
        "",
        f"{'':<34}{'before':>16}{'after':>16}",
    ]
    for name, before, after in zip(_NAMES, _figures(report.before), _figures(report.after), strict=True):
        out.append(f"{name:<34}{before:>16}{after:>16}")
    out += [
        "",
        f"A missed defect costs {report.costs.missed_defect:g} false alarms, a look {report.costs.look:g}. Before: the "
        "station's thresholds on the model's own",
        "probability. After: cross-validated, each picture judged by a fit that has not seen it.",
    ]
    share = bad / (good + bad)
    out.append(f"The probabilities hold for a line on which {share:.0%} of the parts are defective, as they are here.")
    if report.dearer:
        out += [
            f"After costs more than before here ({report.after.decisions.cost:.3f} a picture, not "
            f"{report.before.decisions.cost:.3f}): add pictures, state other costs,",
            f"or delete {report.path.name} to keep the station's own thresholds.",
        ]
    if report.few:
        out.append("Fewer than 30 pictures of a kind: take these figures as a hint, and calibrate again with more.")
    return [*out, "", f"written     {report.path}"]


_NAMES = (
    "expected calibration error",
    "Brier score",
    "log loss",
    "pass below, fail above",
    "missed defects",
    "false alarms",
    "unsure",
    "cost a picture",
)


def _figures(side: Side) -> list[str]:
    d = side.decisions
    return [
        f"{side.expected_calibration_error:.4f}",
        f"{side.brier_score:.4f}",
        f"{side.log_loss:.4f}",
        f"{side.thresholds[0]:.3f}, {side.thresholds[1]:.3f}",
        str(d.missed),
        str(d.false_alarms),
        str(d.unsure),
        f"{d.cost:.3f}",
    ]
