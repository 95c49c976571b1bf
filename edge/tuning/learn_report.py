"""What `lineside learn` says of a gate that it made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.tuning.watched_lines import watched_lines
from lineside.runtime.inspection.gate_memory import Learnt
from lineside.runtime.inspection.usual import Usual

FEW = 10
"""Good pictures, below which the gate leaves much to a person."""
NAMED = 5
"""Pictures at most that are called by name."""

ODDEST = 3


@dataclass(frozen=True)
class LearnReport:
    """For one or more cameras with the same view.

    Attributes:
        good, bad: the names of the pictures, in the order of their scores in `learnt`.
        skipped: pictures that cannot be read.
    """

    cameras: list[str]
    good: list[str]
    bad: list[str]
    skipped: int
    learnt: Learnt
    usual: Usual
    paths: list[Path]
    sheet: Path
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        memory = self.learnt.memory
        count = len(self.good) - len(self.learnt.left_out)
        lines = [
            f"learnt      {count} good pictures for {', '.join(self.cameras)} in {self.seconds:.1f} s",
            f"scores      {memory.good_scores.min():.3f} to {memory.good_scores.max():.3f}, "
            "each picture held against the others",
            f"passes      up to {memory.pass_below:.3f}",
            f"fails       from {memory.fail_above:.3f}: at most {100 * memory.false_alarms:g} % of the good ones, "
            "if these show how they differ; in between it is unsure",
            *self._suspicious(),
            *self._bad_ones(),
            *watched_lines(self.usual),
            f"picture     {self.sheet}",
        ]
        if self.skipped:
            lines.append(f"skipped     {self.skipped} pictures that cannot be read")
        if count < FEW:
            lines.append(f"few         {FEW} pictures or more tell better how much good parts differ: fewer are unsure")
        return lines + [f"written     {path}; restart the station or send it SIGHUP to use it" for path in self.paths]

    def _suspicious(self) -> list[str]:
        scores, left_out = self.learnt.scores, self.learnt.left_out
        if left_out:
            named = ", ".join(f"{self.good[at]} ({scores[at]:.3f})" for at in left_out[:NAMED])
            more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
            return [
                f"left out    {named}{more}: too unlike the others; take what is bad out of the folder, and where "
                "it is good add more pictures like it, then learn again"
            ]
        named = ", ".join(f"{self.good[at]} ({scores[at]:.3f})" for at in (-scores).argsort(kind="stable")[:ODDEST])
        return [f"oddest      {named}: take out what is not good, and learn again"]

    def _bad_ones(self) -> list[str]:
        if not self.bad:
            return ["bad         none shown: put pictures of broken parts into bad/ in the folder, if there are any"]
        memory, auroc = self.learnt.memory, self.learnt.auroc
        scores = memory.bad_scores
        failed = int((scores >= memory.fail_above).sum())
        line = f"bad         {len(self.bad)} shown, {scores.min():.3f} to {scores.max():.3f}: {failed} of them fail"
        if math.isnan(auroc) or self.learnt.apart:
            usual = int(scores.argmin())
            return [f"{line}; most like a good one is {self.bad[usual]} (AUROC {auroc:.2f})"]
        return [
            line,
            f"NOT APART   good and bad pictures cannot be told apart (AUROC {auroc:.2f}, where 0.5 is chance): nothing "
            "passes without you. Show the part larger, in even light, always in the same place, and learn again",
        ]
