"""Where a gate passes and fails, from scores alone."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.runtime.inspection.gate_thresholds import foretold, student_quantile, suspicious, thresholds

NONE = np.asarray([], np.float32)
GOOD = np.asarray([50, 52, 47, 55, 49, 51, 53, 48, 50, 54], np.float32)


@pytest.mark.parametrize(
    ("share", "freedom", "tabulated"),
    [(0.975, 9, 2.262), (0.975, 4, 2.776), (0.95, 19, 1.729), (0.99, 9, 2.821), (0.75, 4, 0.741), (0.5, 7, 0.0)],
)
def test_students_t_is_that_of_the_tables(share: float, freedom: int, tabulated: float) -> None:
    assert student_quantile(share, freedom) == pytest.approx(tabulated, rel=0.01, abs=1e-9)


@pytest.mark.parametrize("count", [5, 10, 20])
def test_as_many_good_ones_fail_as_the_user_allows(count: int) -> None:
    """Over 4,000 parts whose scores lie on the curve: the fewer pictures, the farther away the line, not the more
    false alarms."""
    rng = np.random.default_rng(0)
    logs = rng.normal(4, 0.1, (4000, count + 1))
    failed = [np.exp(own[-1]) >= foretold(own[:-1], 0.95) for own in logs]
    assert 0.04 < np.mean(failed) < 0.06


def test_more_false_alarms_bring_the_line_nearer() -> None:
    strict, loose = (thresholds(GOOD, NONE, share).fail_above for share in (0.01, 0.1))
    assert 52 < loose < GOOD.max() < strict


def test_a_few_bad_pictures_far_away_promise_nothing_of_others() -> None:
    alone, shown = thresholds(GOOD, NONE, 0.02), thresholds(GOOD, np.asarray([90, 80], np.float32), 0.02)
    assert (shown.pass_below, shown.fail_above) == (alone.pass_below, alone.fail_above)
    assert shown.auroc == 1.0


def test_nothing_passes_that_is_as_unusual_as_a_bad_picture() -> None:
    shown = thresholds(GOOD, np.asarray([49.5, 70, 80, 90], np.float32), 0.02)
    assert shown.apart
    assert shown.pass_below < 49.5
    assert shown.fail_above > GOOD.max()


def test_bad_pictures_that_look_like_good_ones_let_nothing_pass() -> None:
    shown = thresholds(GOOD, GOOD[:4] + 0.5, 0.02)
    assert not shown.apart
    assert shown.pass_below == 0


def test_pictures_that_stand_out_are_suspicious_the_oddest_first() -> None:
    assert suspicious(GOOD) == []
    assert suspicious(np.append(GOOD, [90, 110]).astype(np.float32)) == [11, 10]
    assert suspicious(np.asarray([50, 51, 52, 53, 110], np.float32)) == [], "of five pictures one cannot stand out"


def test_equal_pictures_leave_a_band() -> None:
    same = thresholds(np.full(6, 40, np.float32), NONE, 0.02)
    assert 40 < same.pass_below < same.fail_above
