"""A pin of the board, through gpiozero."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Literal

from lineside.devices.errors import LinkError
from lineside.devices.triggers.trigger import EdgeKind, Moment

LOOK_S = 0.2
"""How often the wait for an edge looks whether it is to stop."""
PULLS: dict[str, bool | None] = {"up": True, "down": False, "none": None}


class GpioTrigger:
    """Edges of the voltage on `pin`, whatever the board's resistor.

    Args:
        debounce_s: edges that follow one that counted within this time do not count.
    """

    def __init__(self, pin: str, pull: Literal["up", "down", "none"], edge: EdgeKind, debounce_s: float) -> None:
        self._pin, self._pull, self._edge, self._debounce_s = pin, PULLS[pull], edge, debounce_s

    def moments(self, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        try:
            from gpiozero import DigitalInputDevice, GPIOZeroError
        except ImportError as error:
            raise LinkError(f"pin {self._pin}: gpiozero is missing: `pip install 'lineside[gpio]'`") from error
        try:
            active = True if self._pull is None else None
            device = DigitalInputDevice(self._pin, pull_up=self._pull, active_state=active)
        except (GPIOZeroError, OSError, ValueError) as error:
            raise LinkError(f"pin {self._pin} cannot be opened ({error!r}); is it free, and on this board?") from error
        edges: SimpleQueue[Moment] = SimpleQueue()

        def on_edge(_device: object) -> None:
            edges.put(Moment())

        high = device.pull_up is not True  # a pin that is pulled up is active where it is low
        with device:
            if self._edge != "falling":
                setattr(device, "when_activated" if high else "when_deactivated", on_edge)
            if self._edge != "rising":
                setattr(device, "when_deactivated" if high else "when_activated", on_edge)
            stands()
            yield from self._counted(edges, stop)

    def _counted(self, edges: SimpleQueue[Moment], stop: threading.Event) -> Iterator[Moment]:
        last = float("-inf")
        while not stop.is_set():
            try:
                moment = edges.get(timeout=LOOK_S)
            except Empty:
                continue
            if moment.monotonic - last >= self._debounce_s:
                last = moment.monotonic
                yield moment
