"""Whether what a command asked for has been done, and if not, why: in the language of the command."""

from __future__ import annotations

from collections.abc import Sequence

from lineside.edge.calls.guard import BY_STATE
from lineside.edge.wire.messages import CallReport, WireError
from lineside.runtime.commands.language import Language

DONE = ("issued", "accepted", "achieved", "dry_run")
"""Outcomes that say so; `dry_run` where the tool declares that no more is to be done."""
SHORTEST_REASON = 300


def undone(reports: Sequence[CallReport], spoken: Language) -> WireError | None:
    """The error of a reply whose calls were not all carried out: a later call of the same tool makes up for one.

    `code` is that of the refusal, or the outcome.
    """
    last = {report.name: report for report in reports}
    for report in last.values():
        if report.outcome in DONE:
            continue
        code = report.code or report.outcome
        sentence = report.outcome if report.outcome in ("refused", "failed") else "failed"
        reason = (report.detail or report.outcome)[:SHORTEST_REASON]
        if report.outcome == "refused" and report.code == "not_allowed":
            return WireError(code=code, message=spoken.refusal("not_allowed", tool=report.name))
        if report.outcome == "refused" and report.code in BY_STATE:
            return WireError(code=code, message=spoken.refusal(code, tool=report.name, reason=reason))
        return WireError(code=code, message=spoken.refusal(sentence, tool=report.name, reason=reason))
    return None
