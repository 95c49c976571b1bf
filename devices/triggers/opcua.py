"""The value of a node of an OPC UA server, by subscription."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Any

from lineside.devices.cameras.masking import masked
from lineside.devices.errors import LinkError
from lineside.devices.opcua import OpcUaLink
from lineside.devices.triggers.trigger import EdgeKind, Moment, is_edge

LOOK_S = 0.2
"""How often the wait for a change looks whether it is to stop."""
LOST = object()


class NodeTrigger:
    """Changes of a node that holds true or false, or a number. What it holds at first is where it begins."""

    def __init__(self, url: str, node: str, edge: EdgeKind) -> None:
        self._url, self._node, self._edge = url, node, edge
        self._name = f"opcua {masked(url)}"

    def moments(self, stop: threading.Event, stands: Callable[[], None]) -> Iterator[Moment]:
        told: SimpleQueue[tuple[Any, Moment]] = SimpleQueue()
        link = OpcUaLink(self._url)
        link.subscribe(self._node, lambda value: told.put((value, Moment())), lambda: told.put((LOST, Moment())))
        try:
            link.start()
        except ImportError as error:
            raise LinkError(f"{self._name}: asyncua is missing: `pip install 'lineside[opcua]'`") from error
        with closing(link):
            link.read(self._node)  # waits for the connection, or says why there is none
            yield from self._edges(told, stop, stands)

    def _edges(
        self, told: SimpleQueue[tuple[Any, Moment]], stop: threading.Event, stands: Callable[[], None]
    ) -> Iterator[Moment]:
        before: float | None = None
        while not stop.is_set():
            try:
                value, moment = told.get(timeout=LOOK_S)
            except Empty:
                continue
            if value is LOST:
                raise LinkError(f"{self._name}: the connection was lost")
            if not isinstance(value, bool | int | float):
                raise LinkError(f"{self._name}: node {self._node} holds {value!r}: true, false or a number triggers")
            if before is None:
                stands()
            elif is_edge(before, value, self._edge):
                yield moment
            before = value
