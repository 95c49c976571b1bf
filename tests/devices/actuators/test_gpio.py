from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from lineside.devices.actuators.gpio import Pin
from lineside.devices.errors import LinkError


@pytest.fixture
def board() -> Iterator[MockFactory]:
    before, Device.pin_factory = Device.pin_factory, MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = before


@pytest.mark.parametrize("active_high", [True, False])
def test_a_pin_is_set_and_counted(board: MockFactory, active_high: bool) -> None:
    pin = Pin("GPIO17", active_high)
    states = []
    steps: list[Callable[[], None]] = [
        lambda: pin.set(True),
        lambda: pin.set(False),
        lambda: pin.count(3),
        lambda: pin.count(4),
    ]
    for step in steps:
        step()
        states.append(board.pin(17).state == active_high)
    assert states == [True, False, True, False]
    pin.probe()
    pin.close()


def test_a_pin_that_is_in_use_or_none_is_named(board: MockFactory) -> None:
    pin = Pin("GPIO17", True)
    with pytest.raises(LinkError, match="gpio GPIO17: cannot be used"):
        Pin("GPIO17", True)
    with pytest.raises(LinkError, match="gpio GPIO99: cannot be used"):
        Pin("GPIO99", True)
    pin.close()
    assert board is Device.pin_factory
