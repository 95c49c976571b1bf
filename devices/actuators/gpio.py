"""A pin of the board, by gpiozero: it finds the library that the board needs."""

from __future__ import annotations

import contextlib

from lineside.devices.errors import LinkError


class Pin:
    """As it was until it is set. When it is closed gpiozero gives it back, and the board's wiring says what it is.

    Args:
        pin: such as `GPIO17` or `BOARD11`.
        active_high: whether the pin is high for on.

    Raises:
        LinkError: the board has no such pin, it is in use, or no library for the board's pins is installed.
    """

    def __init__(self, pin: str, active_high: bool) -> None:
        from gpiozero import OutputDevice

        self._name = f"gpio {pin}"
        try:
            self._device = OutputDevice(pin, active_high=active_high, initial_value=None)
        except Exception as error:
            raise LinkError(f"{self._name}: cannot be used ({error}); is lgpio installed, and the pin free?") from error

    def connect(self) -> None:
        """The board is always there."""

    def set(self, on: bool) -> None:
        try:
            self._device.value = on
        except Exception as error:
            raise LinkError(f"{self._name}: cannot be set ({error})") from error

    def count(self, number: int) -> None:
        self.set(number % 2 == 1)

    def probe(self) -> None:
        """As `connect`."""

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._device.close()
