"""Waiting for what a test is about. How long that takes is the machine's business."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_S = 60.0
"""A test that waits so long for one thing has failed, and does not hang."""


def until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds, for a state that says nothing when it comes about."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.005)
