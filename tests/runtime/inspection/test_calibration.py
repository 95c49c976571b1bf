from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.runtime.errors import NotSeparable
from lineside.runtime.inspection.calibration import (
    Calibration,
    Costs,
    brier_score,
    cross_validated,
    decide,
    expected_calibration_error,
    fit,
    log_loss,
    reliability,
)


def simulated(count: int, scale: float, offset: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A model whose probabilities are off by a known scale and offset, and labels."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 3, count)
    truth = 1 / (1 + np.exp(-(scale * scores + offset)))
    return 1 / (1 + np.exp(-scores)), rng.random(count) < truth


def test_a_known_scale_and_offset_are_found() -> None:
    probabilities, defective = simulated(20_000, 0.5, -1.5)
    calibration = fit(probabilities, defective)
    assert calibration.scale == pytest.approx(0.5, abs=0.03)
    assert calibration.offset == pytest.approx(-1.5, abs=0.06)
    calibrated = calibration.apply(probabilities)
    assert expected_calibration_error(probabilities, defective) > 0.1
    assert expected_calibration_error(calibrated, defective) < 0.02
    assert brier_score(calibrated, defective) < brier_score(probabilities, defective)


def test_true_probabilities_stay_what_they_are() -> None:
    probabilities, defective = simulated(20_000, 1.0, 0.0)
    calibration = fit(probabilities, defective)
    assert calibration.scale == pytest.approx(1, abs=0.05)
    assert calibration.offset == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("count", [5, 40])
def test_pictures_that_are_told_apart_perfectly_stay_finite(count: int) -> None:
    """Labels that a threshold separates would pull an unregularized fit to infinity."""
    probabilities = np.concatenate([np.full(count, 1e-9), np.full(count, 1 - 1e-9)])
    calibration = fit(probabilities, probabilities > 0.5)
    assert np.isfinite([calibration.scale, calibration.offset]).all()
    assert 1 / (count + 3) < calibration(0.0) < 1 / (count + 1) + 0.01


@given(st.floats(0.01, 5), st.floats(-5, 5), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_order_of_pictures_does_not_change(scale: float, offset: float, values: list[float]) -> None:
    raw = np.sort(np.asarray(values))
    calibrated = Calibration(scale, offset).apply(raw)
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_a_model_that_does_not_see_the_defect_is_not_calibrated() -> None:
    probabilities, defective = simulated(500, 2.0, 0.0)
    with pytest.raises(NotSeparable, match="does not see this defect"):
        fit(1 - probabilities, defective)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_one_probability_for_all_pictures_is_not_calibrated(value: float) -> None:
    with pytest.raises(NotSeparable, match="every picture the same probability"):
        fit(np.full(20, value), np.arange(20) < 10)


def test_a_fit_that_hangs_on_one_fold_is_refused_and_says_so() -> None:
    """All pictures together rise with the labels only because of one run of neighbours."""
    good = np.asarray([0.001, 0.001, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])
    bad = np.asarray([0.999, 0.999, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    probabilities, defective = np.concatenate([good, bad]), np.arange(20) >= 10
    assert fit(probabilities, defective).scale > 0
    with pytest.raises(NotSeparable, match=r"4 of 20 pictures left out.*add pictures"):
        cross_validated(probabilities, defective)


@given(st.floats(0.05, 200), st.floats(0, 2), st.floats(0.0001, 0.9999))
def test_no_other_verdict_would_cost_less(missed: float, look: float, probability: float) -> None:
    costs = Costs(missed, look)
    pass_below, fail_above = costs.thresholds()
    assert 0 <= pass_below <= fail_above <= 1
    expected = {"pass": probability * missed, "fail": 1 - probability, "unsure": look}
    verdict = "fail" if probability >= fail_above else "pass" if probability <= pass_below else "unsure"
    assert expected[verdict] <= min(expected.values()) + 1e-9


def test_cross_validation_does_not_see_its_own_pictures() -> None:
    """Labels that are pure chance: fitted to themselves they look better than they are, held out they do not."""
    rng = np.random.default_rng(1)
    probabilities = rng.random(60)
    defective = probabilities + rng.normal(0, 0.5, 60) > 0.5
    held_out = cross_validated(probabilities, defective)
    changed = defective.copy()
    first = np.flatnonzero(defective)[0]
    changed[first] = False
    fitted = fit(probabilities, defective).apply(probabilities)
    assert brier_score(held_out, defective) > brier_score(fitted, defective)
    assert held_out.shape == (60,)
    assert np.isfinite(held_out).all()


def test_figures_worked_out_by_hand() -> None:
    probabilities = np.asarray([0.05, 0.05, 0.55, 0.55, 0.95, 1.0])
    defective = np.asarray([False, True, False, True, True, True])
    assert [(b.count, round(b.probability, 3), b.defective) for b in reliability(probabilities, defective)] == [
        (2, 0.05, 0.5), (2, 0.55, 0.5), (2, 0.975, 1.0),
    ]  # fmt: skip
    assert expected_calibration_error(probabilities, defective) == pytest.approx((0.45 + 0.05 + 0.025) / 3)
    assert brier_score(probabilities, defective) == pytest.approx((0.0025 + 0.9025 + 0.3025 + 0.2025 + 0.0025) / 6)
    assert log_loss(np.asarray([0.25, 1.0]), np.asarray([True, True])) == pytest.approx(np.log(4) / 2, abs=1e-6)
    decisions = decide(probabilities, defective, (0.1, 0.9), Costs(20, 0.25))
    assert (decisions.missed, decisions.false_alarms, decisions.unsure) == (1, 0, 2)
    assert decisions.cost == pytest.approx((20 + 2 * 0.25) / 6)
    abstained = np.asarray([False, True, True, False, True, False])
    decisions = decide(probabilities, defective, (0.1, 0.9), Costs(20, 0.25), abstained)
    assert (decisions.missed, decisions.false_alarms, decisions.unsure) == (0, 0, 4)


def test_the_closed_form_is_what_a_search_finds() -> None:
    """On pictures whose probabilities are true, no pair of thresholds on a grid is clearly cheaper."""
    probabilities, defective = simulated(50_000, 1.0, 0.0, seed=3)
    costs = Costs(8, 0.3)
    ours = decide(probabilities, defective, costs.thresholds(), costs).cost
    grid = np.linspace(0, 1, 26)
    pairs = [(low, high) for low, high in itertools.product(grid, grid) if low <= high]
    assert ours <= min(decide(probabilities, defective, pair, costs).cost for pair in pairs) + 0.002
