"""A calibration in words, for the terminal."""

from __future__ import annotations

from lineside.edge.tuning.calibrate import Report, Side
from lineside.edge.tuning.watched_lines import watched_lines
from lineside.runtime.inspection.threshold_choice import fewest


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
    share = bad / (good + bad)
    out += [
        "",
        f"looking at every picture costs    {report.costs.look:.3f} a picture",
        f"without this calibration          {report.before.decisions.cost:.3f}: the station's thresholds",
        f"with it                           {report.after.decisions.cost:.3f}: cross-validated, each picture judged by "
        "a choice that has not seen it",
        "",
        f"A missed defect costs {report.costs.missed_defect:g} false alarms, a look {report.costs.look:g}.",
        *_zones(report),
        _more(report),
        f"The probabilities hold for a line on which {share:.0%} of the parts are defective, as they are here.",
    ]
    if report.few:
        out.append("Fewer than 30 pictures of a kind: take these figures as a hint, and calibrate again with more.")
    return [*out, "", *watched_lines(report.usual), f"written     {report.path}"]


def _zones(report: Report) -> list[str]:
    """Which verdicts there are, and what is missing for those that there are not."""
    for_pass, for_fail = fewest(report.costs)
    zones = report.zones
    if zones.passes and zones.fails:
        return []
    absent = " or ".join(name for name, there in (("pass", zones.passes), ("fail", zones.fails)) if not there)
    needed = []
    if not zones.passes:
        needed.append(f"`pass` needs {for_pass} good pictures that look better to the model than every bad one")
    if not zones.fails:
        needed.append(f"`fail` needs {for_fail} bad ones that look worse than every good one")
    return [f"No picture will be `{absent}`: it would cost more than a look.", "; ".join(needed) + "."]


def _more(report: Report) -> str:
    if report.more is None:
        return "More pictures like these would not change the cost: the model takes good and bad ones for each other."
    count, cost = report.more
    return f"About {count} more pictures like these would bring the expected cost down to {cost:.3f} a picture."


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
