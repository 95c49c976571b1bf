"""What another machine has dated, on this one's own clock."""

from __future__ import annotations

import time

import pytest

from lineside.edge import steady


def test_a_process_that_is_held_up_between_two_clocks_reads_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A millisecond may be the next part's."""
    clock = [0.0]
    held_up = [0.02, 0.0, 0.05, 0.0]

    def monotonic() -> float:
        clock[0] += held_up.pop() if held_up else 0.0
        return clock[0]

    monkeypatch.setattr(time, "monotonic", monotonic)
    monkeypatch.setattr(time, "time", lambda: 1000.0 + clock[0])
    assert steady.moment_of(990.0) == pytest.approx(-10.0, abs=1e-4)
    assert steady.moment_of(5000.0) == clock[0]
