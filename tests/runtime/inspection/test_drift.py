"""What has changed since a camera learnt, on photographs; and what is as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.drift import PICTURES, VERDICTS, Change, Drift, GateUsual, farthest, gate_usual
from lineside.runtime.inspection.picture_figures import figures_of
from lineside.runtime.inspection.usual import Usual, usual_of
from lineside.runtime.picture import decode_picture
from tests.support.changes import blurred, compressed, lit, moved
from tests.support.gates import small, small_memory

LEARNT = 8


@pytest.fixture(scope="module")
def seen(pictures: list[Path]) -> list[Picture]:
    """A fixed camera's views of a photograph: light and place differ a little, and each has its own noise."""
    photograph = decode_picture(pictures[0].read_bytes())
    rng = np.random.default_rng(0)
    return [
        lit(moved(photograph, *rng.uniform(-1, 1, 2)), rng.uniform(0.95, 1.05) + rng.normal(0, 0.01))
        for _ in range(LEARNT + 6)
    ]


@pytest.fixture(scope="module")
def usual(seen: list[Picture]) -> Usual:
    return usual_of([figures_of(each) for each in seen[:LEARNT]], 0.2)


def after(usual: Usual, pictures: Iterable[Picture], gate: GateUsual | None = None) -> Drift:
    """What is known when the pictures came again and again."""
    drift = Drift(usual, gate)
    measured = [figures_of(each) for each in pictures]
    for number in range(PICTURES + 5):
        drift.add(measured[number % len(measured)], None, unsure=False, blank=False)
    return drift


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda picture: picture, set()),
        (lambda picture: compressed(picture, 60), set()),
        (lambda picture: lit(picture, 0.9), set()),
        (lambda picture: lit(picture, 1.1), set()),
        (lambda picture: moved(picture, 2, -2), set()),
        (lambda picture: lit(picture, 0.5), {"brightness"}),
        (lambda picture: lit(picture, 1.6), {"brightness"}),
        (lambda picture: blurred(picture, 2), {"sharpness"}),
        (lambda picture: blurred(lit(picture, 0.5), 2), {"brightness", "sharpness"}),
        (lambda picture: moved(picture, 10, 0), {"position"}),
        (lambda picture: moved(picture, 0, -10), {"position"}),
        (lambda picture: moved(lit(picture, 0.9), -7, 7), {"position"}),
    ],
)
def test_what_has_changed_is_named(
    usual: Usual, seen: list[Picture], change: Callable[[Picture], Picture], named: set[Change]
) -> None:
    assert after(usual, [change(each) for each in seen[LEARNT:]]).changed == named


@pytest.mark.parametrize("width", [640, 1024, 1540])
def test_a_move_is_measured_at_any_size(pictures: list[Path], width: int) -> None:
    photograph = decode_picture(pictures[0].read_bytes())
    height = round(photograph.shape[0] * width / photograph.shape[1])
    large = np.asarray(cv2.resize(photograph, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    usual = usual_of([figures_of(lit(large, share)) for share in (0.95, 1.0, 1.05, 1.1)], 0.0)
    drift = after(usual, [moved(large, 10, -6)])
    assert drift.changed == {"position"}
    assert drift.figures.right == pytest.approx(10, abs=1)
    assert drift.figures.down == pytest.approx(-6, abs=1)


def test_a_camera_that_shows_something_else_has_moved(usual: Usual, seen: list[Picture]) -> None:
    turned = [np.ascontiguousarray(each[::-1, ::-1]) for each in seen[LEARNT:]]
    drift = after(usual, turned)
    assert "position" in drift.changed
    assert drift.elsewhere


def test_parts_that_lie_here_and_there_are_no_moved_camera() -> None:
    washers = small("washer", 20, False)
    usual = usual_of([figures_of(each) for each in washers[:10]], 0.0)
    assert math.isinf(farthest(usual))
    assert after(usual, [moved(each, 20, 0) for each in washers[10:]]).changed == set()
    assert after(usual, [lit(each, 0.5) for each in washers[10:]]).changed == {"brightness"}


def test_one_odd_picture_says_nothing(usual: Usual, seen: list[Picture]) -> None:
    drift = after(usual, seen)
    for _ in range(PICTURES // 2):
        drift.add(figures_of(np.zeros_like(seen[0])), None, unsure=True, blank=True)
        assert drift.changed == set()
    drift.add(figures_of(np.zeros_like(seen[0])), None, unsure=True, blank=True)
    assert drift.changed == {"brightness"}


def test_a_change_is_over_when_it_is_well_within_its_bound(usual: Usual, seen: list[Picture]) -> None:
    drift, told = Drift(usual, None), []
    for share in (0.5, 0.78, 0.95):
        measured = figures_of(lit(seen[-1], share))
        for _ in range(PICTURES):
            drift.add(measured, None, unsure=False, blank=False)
        told.append(set(drift.changed))
    assert told == [{"brightness"}, {"brightness"}, set()]


def test_pictures_of_another_size_are_compared_in_brightness_alone(usual: Usual, seen: list[Picture]) -> None:
    halves = [np.asarray(cv2.resize(each, None, fx=0.5, fy=0.5), np.uint8) for each in seen[LEARNT:]]
    assert after(usual, halves).changed == set()
    assert after(usual, [lit(each, 0.5) for each in halves]).changed == {"brightness"}


def test_scores_and_the_share_of_unsure(usual: Usual, seen: list[Picture]) -> None:
    gate = GateUsual(median=50.0, most=60.0, unsure=0.1)
    drift, measured = Drift(usual, gate), figures_of(seen[-1])
    for number in range(VERDICTS):
        drift.add(measured, 61.0 if number % 3 else 50.0, unsure=number % 4 != 0, blank=False)
    assert drift.changed == {"gate_score", "unsure"}
    assert (drift.figures.gate_score, drift.figures.unsure) == (61.0, 0.74)
    for number in range(VERDICTS):
        drift.add(measured, 58.0, unsure=number % 5 == 0, blank=False)
    assert drift.changed == {"gate_score"}
    drift = Drift(usual, GateUsual(50.0, 60.0, unsure=0.7))
    for _ in range(VERDICTS):
        drift.add(measured, 55.0, unsure=True, blank=False)
    assert drift.changed == set()


def test_pictures_too_small_or_too_few_to_compare_are_left(seen: list[Picture]) -> None:
    tiny = [each[:4, :6] for each in seen]
    usual = usual_of([figures_of(each) for each in tiny[:2]], 0.0)
    assert after(usual, tiny).changed == set()


def test_what_is_usual_of_a_gate() -> None:
    memory = small_memory(good_scores=np.asarray([1.0, 1.1, 1.3, 1.4, 1.6, 1.0], np.float32))
    usual = gate_usual(memory)
    assert usual.median == pytest.approx(1.2)
    assert usual.most == pytest.approx(1.6)  # above `fail_above`, which is 1.5
    assert usual.unsure == pytest.approx(0.4)
