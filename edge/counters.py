"""What several threads count and measure. `health` and the Prometheus page show it (`edge.figures`)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

BOUNDS_MS = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0)
"""Upper bounds of the histograms' buckets, in milliseconds; a last bucket takes what is above."""
MOST_SERIES = 500
"""Series of all counters with labels together, and as many histograms: whoever sends messages makes no more."""
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Histogram:
    """How often something took how long: `counts` has one number for each of `BOUNDS_MS`, and one for above."""

    counts: tuple[int, ...]
    sum_ms: float


class Counters:
    """Totals by name, the same split by labels, and histograms."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Counter[str] = Counter()
        self._split: Counter[tuple[str, Labels]] = Counter()
        self._counts: dict[tuple[str, Labels], list[int]] = {}
        self._sums: dict[tuple[str, Labels], float] = {}

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Labels say of which camera, or for what reason; the total of `name` counts too. Past `MOST_SERIES` a new
        combination of labels counts in the total alone.
        """
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._values[name] += amount
            if labels and (key in self._split or len(self._split) < MOST_SERIES):
                self._split[key] += amount

    def observe(self, name: str, value_ms: float, **labels: str) -> None:
        """Put a time into the histogram of `name` with these labels."""
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            if key not in self._counts:
                if len(self._counts) >= MOST_SERIES:
                    return
                self._counts[key], self._sums[key] = [0] * (len(BOUNDS_MS) + 1), 0.0
            self._counts[key][bisect_left(BOUNDS_MS, value_ms)] += 1
            self._sums[key] += value_ms

    def snapshot(self) -> dict[str, int]:
        """Each total."""
        with self._lock:
            return dict(self._values)

    def split(self) -> dict[tuple[str, Labels], int]:
        """Each combination of labels that was counted, by name and labels."""
        with self._lock:
            return dict(self._split)

    def histograms(self) -> dict[tuple[str, Labels], Histogram]:
        """By name and labels."""
        with self._lock:
            return {key: Histogram(tuple(counts), self._sums[key]) for key, counts in self._counts.items()}
