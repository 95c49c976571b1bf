"""Whether a call has brought about the state that it asked for.

A state that the device says after the call went out decides. One that the broker had kept counts only where the state
was another one before: else it may be older than the call. A device that was as asked already, and says nothing more,
has neither confirmed the call nor failed: such a call stays `issued`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lineside.edge.calls.bindings import Done

MAX_SHOWN_CHARACTERS = 60
DIFFERS, UNKNOWN = "state_differs", "state_unknown"
ROUNDING = 1e-9


@dataclass(frozen=True)
class Known:
    """A state. `heard` is on the clock of `States`; `retained` where the broker had kept it."""

    value: Any
    heard: float
    retained: bool


class Watch:
    """One call that waits for a state.

    Args:
        deadline: on the clock of `States`, `wait_s` after the call.
        before: the last state that was known.
    """

    def __init__(
        self, topic: str, wanted: Any, within: float, deadline: float, wait_s: float, before: Known | None
    ) -> None:
        self.topic, self.wanted, self._within = topic, wanted, within
        self.deadline, self._wait_s = deadline, wait_s
        self._began = deadline - wait_s
        self._last = before
        self.reached = False

    def heard(self, known: Known) -> None:
        """The device, or the broker for it, says a state after the call has begun."""
        may_be_older = known.retained or known.heard < self._began
        says_nothing = may_be_older and (self._last is None or self._is_wanted(self._last))
        self._last = known
        self.reached = self.reached or (self._is_wanted(known) and not says_nothing)

    def outcome(self, done: Done, when: Callable[[Known], str]) -> Done:
        """What came of the call, once waited for; `done` is what the binding says."""
        if self.reached and self._last is not None:
            result = {"state": self._last.value}
            if done.result is not None:
                result = result | done.result if isinstance(done.result, dict) else done.result
            return Done("achieved", f"{self.topic} says {shown(self._last.value)}", result)
        if done.outcome == "expired":
            return done
        if self._last is None:
            detail = f"{self.topic} has not said a state within {self._wait_s:g} s, and none is known"
            return replace(done, outcome="failed", detail=detail, code=UNKNOWN)
        state = f"{shown(self._last.value)} ({when(self._last)})"
        if self._is_wanted(self._last):
            detail = f"{done.detail}; {self.topic} was {state} already, and has said nothing since".lstrip("; ")
            return replace(done, detail=detail)
        detail = f"{self.topic} is {state} and not {shown(self.wanted)} {self._wait_s:g} s after the call"
        return replace(done, outcome="failed", detail=detail, code=DIFFERS)

    def _is_wanted(self, known: Known) -> bool:
        return same(known.value, self.wanted, self._within)


def same(state: Any, wanted: Any, within: float = 0.0) -> bool:
    """Whether a state is the one that is wanted: numbers also as texts, texts without regard to case."""
    one, other = _number(state), _number(wanted)
    if one is not None and other is not None:
        return abs(one - other) <= within + ROUNDING * max(abs(one), abs(other))
    if isinstance(state, str | bool) and isinstance(wanted, str | bool):
        return str(state).strip().casefold() == str(wanted).strip().casefold()
    return bool(type(state) is type(wanted) and state == wanted)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def shown(value: Any) -> str:
    """A state on one line, for people and for the model."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."
