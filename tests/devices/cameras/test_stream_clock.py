"""When a frame was captured, by its presentation time and its arrival."""

from __future__ import annotations

import pytest

from lineside.devices.cameras.stream_clock import StreamClock


def test_frames_that_were_held_up_are_as_old_as_they_are() -> None:
    """Ten a second; the network holds two seconds of them back, and then brings them at once."""
    clock = StreamClock()
    for number in range(20):
        assert clock.captured(number / 10, 100 + number / 10) == pytest.approx(100 + number / 10)
    for number in range(20, 40):
        captured = clock.captured(number / 10, 104.0)
        assert captured == pytest.approx(100 + number / 10, abs=0.01)


def test_a_clock_that_is_a_little_slow_does_not_make_frames_old() -> None:
    """500 millionths, for a day: 43 s."""
    clock = StreamClock()
    for number in range(0, 86400, 10):
        arrived = number * 1.0005
        assert clock.captured(float(number), arrived) == pytest.approx(arrived, abs=0.01)


def test_times_that_begin_anew_and_those_that_are_missing() -> None:
    clock = StreamClock()
    clock.captured(5000.0, 100.0)
    assert clock.captured(0.0, 101.0) == 101.0
    assert clock.captured(1.0, 102.5) == pytest.approx(102.0, abs=0.01)
    assert clock.captured(None, 103.0) == 103.0


def test_times_that_are_made_up_are_not_believed_for_long() -> None:
    """A camera that counts 25 frames a second and sends 10: after a while the arrival counts."""
    clock = StreamClock()
    ages = []
    for number in range(600):
        arrived = number / 10
        ages.append(arrived - clock.captured(number / 25, arrived))
    assert max(ages) < 16
    assert ages[-300:] == [0.0] * 300
    assert not clock.usable
