from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.runtime.inspection.calibration import Costs
from lineside.runtime.inspection.threshold_choice import LOOK_AT_EACH, choose, fewest, forecast, held_out


def apart(good: int, bad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities that tell good from bad, labels, and nothing abstained."""
    p = np.concatenate([np.linspace(0.01, 0.2, good), np.linspace(0.8, 0.99, bad)])
    return p, np.arange(good + bad) >= good, np.zeros(good + bad, bool)


@pytest.mark.parametrize(("missed", "look"), [(10, 0.25), (20, 0.25), (5, 0.1)])
def test_a_zone_opens_with_the_number_that_is_said(missed: float, look: float) -> None:
    costs = Costs(missed, look)
    for_pass, for_fail = fewest(costs)
    assert choose(*apart(for_pass, for_fail), costs).passes
    assert choose(*apart(for_pass, for_fail), costs).fails
    assert not choose(*apart(for_pass - 1, for_fail), costs).passes
    assert not choose(*apart(for_pass, for_fail - 1), costs).fails


def test_a_bad_picture_ends_the_zone() -> None:
    p, bad, none = apart(200, 50)
    bad[150] = True
    zones = choose(p, bad, none, Costs(20, 0.25))
    assert p[149] <= zones.pass_below < p[150]


def test_pictures_that_cannot_be_told_apart_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    p, bad = rng.random(200), np.arange(200) % 2 == 0
    zones = choose(p, bad, np.zeros(200, bool), Costs())
    assert zones.thresholds == LOOK_AT_EACH
    assert forecast(p, bad, np.zeros(200, bool), Costs())[1] is None


def test_more_pictures_are_asked_for_where_they_help() -> None:
    cost, more = forecast(*apart(40, 20), Costs())
    assert more is not None
    assert more[0] <= 60
    assert more[1] < cost


def test_the_held_out_decisions_count_every_picture() -> None:
    p, bad, none = apart(200, 50)
    none[:7] = True
    decisions = held_out(p, bad, none, Costs())
    assert decisions.pictures == 250
    assert decisions.unsure >= 7
    assert decisions.missed == decisions.false_alarms == 0


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.8]), st.booleans()), min_size=1, max_size=30),
    st.floats(0.5, 30),
    st.floats(0, 2),
)
def test_never_dearer_than_a_look_and_what_a_search_finds(
    rows: list[tuple[float, bool]], missed: float, look: float
) -> None:
    p, bad = np.asarray([row[0] for row in rows]), np.asarray([row[1] for row in rows])
    costs = Costs(missed, look)

    def cost(low: float, high: float) -> float:
        passed, failed = p <= low, p >= high
        own = look * (~passed & ~failed).sum()
        for zone, wrong, price in ((passed, bad, missed), (failed, ~bad, 1.0)):
            own += price * zone.sum() * ((zone & wrong).sum() + 1.6) / (zone.sum() + 3.2)
        return float(own / len(p))

    zones = choose(p, bad, np.zeros(len(p), bool), costs)
    ends = [-1.0, *np.unique(p), 2.0]
    assert zones.cost <= look + 1e-9
    assert zones.pass_below < zones.fail_above
    assert zones.cost == pytest.approx(cost(*zones.thresholds))
    assert zones.cost <= min(cost(a, b) for a, b in itertools.product(ends, ends) if a < b) + 1e-9
