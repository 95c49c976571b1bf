"""From answers to rates, each with its 95 % interval: the sets are small."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lineside.export.evaluation import matching
from lineside.export.evaluation.cases import Case
from lineside.runtime.chat import ToolCall

Z_95 = 1.959964
Verdict = Literal["right", "acted wrongly", "refused"]
"""Of what came of a command: the right calls, or none where none is right; a call that should not have been, or with a
wrong argument; nothing, or not all of it, where something should have been called."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Outcome:
    """What a bundle answered to a case.

    Attributes:
        calls: those that the daemon would carry out, or refuse by policy.
        cut_off: the answer did not come to its own end (token limit, repetition).
        error: code of the engine error instead of an answer, or "".
        doubt: code of the check that held the calls back, or "".
        ms: from the question to the answer.
    """

    case: Case
    calls: tuple[ToolCall, ...]
    cut_off: bool
    error: str
    ms: float
    doubt: str = ""


@dataclass(frozen=True)
class Rate:
    """A share `hits / of` with its Wilson interval; all three are 0 to 1, and 0 where nothing was counted."""

    hits: int
    of: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """Figures on a group of cases.

    Attributes:
        right_tool: where a tool fits: one call, of that tool.
        right_call: the same, and every argument right (see `matching.accepted`).
        exact_call: the same, and every argument as the case has it, to the letter.
        not_called: where a tool fits: nothing was called.
        wrongly_called: where nothing fits: anything was called.
        right_answer: over all cases: the right call, or none and a finished answer where nothing fits.
        never_calls: what `right_answer` is for answering without a call, always.
        right, acted_wrongly, refused: over all cases, see `Verdict`; the three add up to all.
        cut_off: answers that did not come to their end.
        errors: engine errors by code.
    """

    cases: int
    right_tool: Rate
    right_call: Rate
    exact_call: Rate
    not_called: Rate
    wrongly_called: Rate
    right_answer: Rate
    never_calls: Rate
    right: Rate
    acted_wrongly: Rate
    refused: Rate
    cut_off: int
    errors: dict[str, int]
    median_ms: float


def score(outcomes: Sequence[Outcome]) -> Score:
    """Count a group that is not empty."""
    fitting = [outcome for outcome in outcomes if outcome.case.expected is not None]
    others = [outcome for outcome in outcomes if outcome.case.expected is None]
    calls = sum(right_call(outcome) for outcome in fitting)
    verdicts = Counter(map(verdict, outcomes))
    silent = sum(not (o.calls or o.cut_off or o.error) for o in others)
    return Score(
        cases=len(outcomes),
        right_tool=rate(sum(right_tool(outcome) for outcome in fitting), len(fitting)),
        right_call=rate(calls, len(fitting)),
        exact_call=rate(sum(exact_call(outcome) for outcome in fitting), len(fitting)),
        not_called=rate(sum(not outcome.calls for outcome in fitting), len(fitting)),
        wrongly_called=rate(sum(bool(outcome.calls) for outcome in others), len(others)),
        right_answer=rate(calls + silent, len(outcomes)),
        never_calls=rate(len(others), len(outcomes)),
        right=rate(verdicts["right"], len(outcomes)),
        acted_wrongly=rate(verdicts["acted wrongly"], len(outcomes)),
        refused=rate(verdicts["refused"], len(outcomes)),
        cut_off=sum(outcome.cut_off for outcome in outcomes),
        errors=dict(Counter(outcome.error for outcome in outcomes if outcome.error)),
        median_ms=round(statistics.median(outcome.ms for outcome in outcomes), 1),
    )


def score_groups(outcomes: Iterable[Outcome], group: Callable[[Case], str]) -> dict[str, Score]:
    """Scores by the group's name, in the order of the first case of each."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(group(outcome.case), []).append(outcome)
    return {name: score(members) for name, members in groups.items()}


def verdict(outcome: Outcome) -> Verdict:
    """By what was called alone: how the answer ended does not matter."""
    if outcome.calls:
        return "right" if right_call(outcome) else "acted wrongly"
    return "right" if outcome.case.expected is None else "refused"


def right_tool(outcome: Outcome) -> bool:
    """One call, of the tool that fits."""
    expected = outcome.case.expected
    return expected is not None and [call.name for call in outcome.calls] == [expected.name]


def right_call(outcome: Outcome) -> bool:
    """The right tool with right arguments."""
    case = outcome.case
    if case.expected is None or not right_tool(outcome):
        return False
    return matching.accepted(case.expected, outcome.calls[0].arguments, case.language)


def exact_call(outcome: Outcome) -> bool:
    """The right tool with the case's own arguments."""
    expected = outcome.case.expected
    return expected is not None and right_tool(outcome) and matching.exact(expected, outcome.calls[0].arguments)


def rate(hits: int, of: int) -> Rate:
    """A share with its interval, to four places."""
    low, high = wilson(hits, of)
    return Rate(hits, of, round(hits / of, 4) if of else 0.0, round(low, 4), round(high, 4))


def wilson(hits: int, of: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a binomial share (Wilson, JASA 22, 1927); (0, 0) where nothing was counted."""
    if of == 0:
        return 0.0, 0.0
    share = hits / of
    scale = 1 + z * z / of
    middle = (share + z * z / (2 * of)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(middle - half, 0.0), min(middle + half, 1.0)
