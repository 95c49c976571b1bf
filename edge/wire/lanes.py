"""The order of what waits for the broker: by topic, one message of a topic under way at a time.

So the order of each camera, tool and requester is kept, whatever is refused or lost on the way; and a topic that the
broker refuses holds up no other.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from lineside.edge.wire.store import Outgoing

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


@dataclass
class Waiting:
    """A message in its lane: the id of one on disk, or `message` where it is in memory. Neither: it had to go.

    `since`, on `time.monotonic()`, is when it came, or was found on disk.
    """

    number: int
    id: int = 0
    message: Outgoing | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass
class Lane:
    """One topic.

    Attributes:
        wait_s: of the last time that the broker did not want the first message; 0 where it was never asked in vain.
        strikes: how often the broker has closed the connection over the first message.
    """

    topic: str
    waiting: deque[Waiting] = field(default_factory=deque)
    under_way: bool = False
    wait_s: float = 0.0
    strikes: int = 0

    @property
    def first(self) -> Waiting:
        return self.waiting[0]


class Lanes:
    """All topics with something to send. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._ready: list[tuple[int, str]] = []
        self._later: list[tuple[float, str]] = []
        self._memory: deque[Waiting] = deque()
        self._count, self._under_way, self._suspect_under_way = 0, 0, False

    def add(self, topic: str, message: Outgoing | int, *, most_in_memory: int = 1) -> int:
        """Behind all that wait already. Of those in memory only `most_in_memory` stay; returns how many had to go."""
        with self._lock:
            self._count += 1
            lane = self._lanes.setdefault(topic, Lane(topic))
            if isinstance(message, int):
                lane.waiting.append(Waiting(self._count, message))
            else:
                lane.waiting.append(Waiting(self._count, 0, message))
                self._memory.append(lane.waiting[-1])
            if len(lane.waiting) == 1:
                heapq.heappush(self._ready, (self._count, topic))
            return self._bound_memory(most_in_memory) if not isinstance(message, int) else 0

    def take(self, most: int, *, suspects: bool) -> Lane | None:
        """The lane whose first message is the oldest that may go now; None where there is none or `most` are under way.

        Args:
            suspects: whether one may go that the broker seems to close the connection over. It goes alone.
        """
        with self._lock:
            self._wake_up()
            if self._under_way >= most or self._suspect_under_way:
                return None
            struck = []
            lane = None
            while self._ready and lane is None:
                item = heapq.heappop(self._ready)
                if self._lanes[item[1]].strikes:
                    struck.append(item)
                else:
                    lane = self._lanes[item[1]]
            if lane is None and struck and suspects and not self._under_way:
                lane = self._lanes[struck.pop(0)[1]]
                self._suspect_under_way = True
            for item in struck:
                heapq.heappush(self._ready, item)
            if lane is not None:
                lane.under_way = True
                self._under_way += 1
            return lane

    def done(self, lane: Lane) -> None:
        """The first message of a lane has come to its end."""
        with self._lock:
            self._land(lane)
            lane.wait_s, lane.strikes = 0.0, 0
            lane.waiting.popleft().message = None
            if lane.waiting:
                heapq.heappush(self._ready, (lane.first.number, lane.topic))
            else:
                del self._lanes[lane.topic]

    def put_back(self, lane: Lane) -> None:
        """It did not get through: it goes again, first of its lane."""
        with self._lock:
            self._land(lane)
            heapq.heappush(self._ready, (lane.first.number, lane.topic))

    def put_off(self, lane: Lane) -> float:
        """The broker does not want it now: it goes again after a wait, which grows; returns the wait in seconds."""
        with self._lock:
            self._land(lane)
            lane.wait_s = min(max(2 * lane.wait_s, FIRST_WAIT_S), LONGEST_WAIT_S)
            heapq.heappush(self._later, (time.monotonic() + lane.wait_s, lane.topic))
            return lane.wait_s

    def all_at_once(self) -> None:
        """A new connection: what was put off may go again now."""
        with self._lock:
            self._later = [(0.0, topic) for _, topic in self._later]
            heapq.heapify(self._later)

    def next_s(self) -> float | None:
        """How long until something that was put off may go again; None where nothing was."""
        with self._lock:
            return max(self._later[0][0] - time.monotonic(), 0.0) if self._later else None

    def in_memory(self) -> int:
        """Messages that are not on disk."""
        with self._lock:
            return sum(waiting.message is not None for waiting in self._memory)

    def oldest_s(self) -> float | None:
        """For how long the oldest message waits; None where none does."""
        with self._lock:
            since = min((lane.first.since for lane in self._lanes.values()), default=None)
        return None if since is None else time.monotonic() - since

    def _bound_memory(self, most: int) -> int:
        lost = 0
        while self._memory and self._memory[0].message is None:
            self._memory.popleft()
        while len(self._memory) > most:
            oldest = self._memory.popleft()
            lost += oldest.message is not None
            oldest.message = None
        return lost

    def _land(self, lane: Lane) -> None:
        lane.under_way = False
        self._under_way -= 1
        self._suspect_under_way = False

    def _wake_up(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, topic = heapq.heappop(self._later)
            heapq.heappush(self._ready, (self._lanes[topic].first.number, topic))
