"""A coil of a PLC, read again and again over Modbus TCP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

from lineside.devices.errors import LinkError
from lineside.devices.modbus import ModbusLink
from lineside.devices.triggers.trigger import EdgeKind, Moment, is_edge

PORT = 502


class CoilTrigger:
    """Changes of one coil between two readings.

    With `reset` the coil is a request that the PLC leaves standing until it is answered: it is written back to 0 once
    the trigger was taken over, and one that stands when the connection comes to stand counts.

    Args:
        address: `host`, `host:port` or `[::1]:port`.
    """

    def __init__(self, address: str, unit: int, coil: int, edge: EdgeKind, poll_s: float, *, reset: bool) -> None:
        parts = urlsplit(f"//{address}")
        self._host, self._port, self._unit = parts.hostname or "", parts.port or PORT, unit
        self._coil, self._edge, self._poll_s, self._reset = coil, edge, poll_s, reset
        self._taken = False
        """Whether a request was taken over that could not be written back yet."""

    def moments(self, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        try:
            link = ModbusLink(self._host, self._port, self._unit)
            with closing(link):
                yield from self._edges(link, stop, stands)
        except ImportError as error:
            raise LinkError(f"modbus {self._host}: pymodbus is missing: `pip install 'lineside[modbus]'`") from error

    def _edges(self, link: ModbusLink, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        if self._taken:
            self._answer(link)
        before: bool | None = False if self._reset else None
        said = False
        while not stop.is_set():
            asked = time.monotonic()
            now = link.read_coil(self._coil)
            if not said:
                stands()
                said = True
            if before is not None and is_edge(before, now, self._edge):
                self._taken = self._reset
                yield Moment()
                if self._reset:
                    self._answer(link)
                    now = False
            before = now
            stop.wait(max(self._poll_s - (time.monotonic() - asked), 0.0))

    def _answer(self, link: ModbusLink) -> None:
        link.write_coil(self._coil, False)
        self._taken = False
