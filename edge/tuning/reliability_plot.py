"""Draws how far the probabilities of a station can be trusted, before and after its calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lineside.edge.tuning.calibrate import Report, Side
from lineside.edge.tuning.no_cache import caches_in_a_temporary_folder
from lineside.runtime.inspection.calibration import BINS, reliability

with caches_in_a_temporary_folder():
    import matplotlib as mpl
    from matplotlib.figure import Figure

mpl.use("Agg")
COLORS = {"good": "#4c9f70", "defective": "#c0392b"}


def draw_reliability(report: Report, path: Path) -> None:
    """A PNG: for each side a reliability diagram, and the pictures' probabilities with the thresholds below it."""
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1.3))
    for column, (title, side) in enumerate((("before", report.before), ("after", report.after))):
        _diagram(axes[0, column], title, side, report)
        _histogram(axes[1, column], side, report)
    axes[0, 0].set_ylabel("share of defective pictures")
    axes[1, 0].set_ylabel("pictures")
    figure.suptitle(
        f"a picture costs {report.costs.look:.3f} looked at, {report.before.decisions.cost:.3f} without the "
        f"calibration, {report.after.decisions.cost:.3f} with it",
        fontsize=10,
    )
    figure.savefig(path, dpi=90)


def _diagram(axes: Any, title: str, side: Side, report: Report) -> None:
    bins = reliability(side.probabilities, report.defective)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([b.probability for b in bins], [b.defective for b in bins], color="#2c3e50", marker="o")
    for b in bins:
        axes.annotate(
            str(b.count),
            (b.probability, b.defective),
            xytext=(5, 5 if b.defective < 0.5 else -9),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_title(f"{title}: expected calibration error {side.expected_calibration_error:.3f}", fontsize=10)
    axes.set_ylim(-0.05, 1.08)


def _histogram(axes: Any, side: Side, report: Report) -> None:
    edges = np.linspace(0, 1, 2 * BINS + 1)
    values = [side.probabilities[~report.defective], side.probabilities[report.defective]]
    axes.hist(values, edges, stacked=True, color=list(COLORS.values()), label=list(COLORS))
    for threshold in side.thresholds:
        axes.axvline(threshold, color="#2c3e50", linestyle="--", linewidth=1)
    axes.set_xlabel("probability of a defect")
    axes.legend(fontsize=8)
