"""Totals, their parts, and histograms."""

from __future__ import annotations

from lineside.edge.counters import BOUNDS_MS, MOST_SERIES, Counters


def test_the_parts_make_up_the_total() -> None:
    counters = Counters()
    counters.add("frames_rejected", camera="cam0", reason="too_old")
    counters.add("frames_rejected", camera="cam1", reason="too_old")
    counters.add("frames_rejected", 2, reason="too_old", camera="cam0")
    assert counters.snapshot() == {"frames_rejected": 4}
    assert counters.split()["frames_rejected", (("camera", "cam0"), ("reason", "too_old"))] == 3


def test_nobody_makes_series_without_end() -> None:
    counters = Counters()
    for number in range(MOST_SERIES + 10):
        counters.add("frames_rejected", reason=str(number))
        counters.observe("frame", 1.0, stage=str(number))
    assert len(counters.split()) == len(counters.histograms()) == MOST_SERIES
    assert counters.snapshot() == {"frames_rejected": MOST_SERIES + 10}


def test_a_time_falls_into_its_bucket() -> None:
    counters = Counters()
    for value in (0.5, BOUNDS_MS[1], BOUNDS_MS[-1] + 1):
        counters.observe("frame", value, stage="total")
    found = counters.histograms()["frame", (("stage", "total"),)]
    assert found.counts[:2] == (1, 1)
    assert found.counts[-1] == 1
    assert found.sum_ms == 0.5 + BOUNDS_MS[1] + BOUNDS_MS[-1] + 1
