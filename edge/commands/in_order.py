"""Commands begin in the order in which they came, and may wait side by side."""

from __future__ import annotations

import threading


class InOrder:
    """Tickets that are let in one after the other: each when all earlier ones have left."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next = 0
        self._open: set[int] = set()

    def ticket(self) -> int:
        with self._condition:
            self._next += 1
            self._open.add(self._next)
            return self._next

    def enter(self, ticket: int) -> None:
        """Wait for one's turn."""
        with self._condition:
            self._condition.wait_for(lambda: ticket not in self._open or min(self._open) == ticket)

    def leave(self, ticket: int) -> None:
        """Let the next one in; may be called again."""
        with self._condition:
            self._open.discard(ticket)
            self._condition.notify_all()
