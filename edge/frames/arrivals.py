"""Frames between the network thread and the intake's: of a stream the newest, of triggered ones each."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
STREAMED = 2
"""The newest frame of a stream, and the one before it: the newest may turn out to be none."""


class Arrivals(Generic[Item]):
    """Cameras take turns, and so do the triggered and the streamed frames of one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: OrderedDict[tuple[str, bool], deque[Item]] = OrderedDict()
        self._closed = False

    def __len__(self) -> int:
        """Triggered frames that wait."""
        with self._condition:
            return sum(len(items) for (_, streamed), items in self._waiting.items() if not streamed)

    def put(self, camera: str, item: Item, *, streamed: bool) -> Item | None:
        """Returns the streamed frame that gives way to this one, if any."""
        with self._condition:
            items = self._waiting.setdefault((camera, streamed), deque())
            items.append(item)
            self._condition.notify()
            return items.popleft() if streamed and len(items) > STREAMED else None

    def get(self) -> Item | None:
        """Wait for the next; None once it is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            turn, items = self._waiting.popitem(last=False)
            item = items.popleft()
            if items:
                self._waiting[turn] = items  # behind the others
            return item

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
