"""Acknowledging incoming messages by hand, and knowing how many wait for it.

A packet id belongs to its connection: the next one uses the same ids for other messages. What is dealt with after its
connection has ended is not acknowledged, and the broker sends it again. Acknowledgements go out in the order in which
the messages came, as MQTT demands (4.6): the embedded broker ends the connection at one that is out of turn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """How much may wait unacknowledged, on all connections together, before no more is read."""

    messages: int = 65535
    bytes: int = 1 << 40


@dataclass
class _Taken:
    packet_id: int
    qos: int
    ended: bool = False


class Acknowledgements:
    """Of one client, over all its connections.

    Args:
        send: `(packet id, QoS)` to the broker.
        room: called when something may be read again.
    """

    def __init__(self, send: Callable[[int, int], object], window: Window, room: Callable[[], None]) -> None:
        self._send, self._window, self._room = send, window, room
        self._lock = threading.Lock()
        self._connection = 0
        self._messages = self._bytes = 0
        self._in_order: deque[_Taken] = deque()

    def begin_connection(self) -> None:
        self.end_connection()

    def end_connection(self) -> None:
        """From now on nothing of this connection is acknowledged."""
        with self._lock:
            self._connection += 1
            self._in_order.clear()

    def waiting(self) -> int:
        """How many messages wait to be acknowledged, on all connections."""
        with self._lock:
            return self._messages

    def is_full(self) -> bool:
        with self._lock:
            return self._messages >= self._window.messages or self._bytes >= self._window.bytes

    def take(self, packet_id: int, qos: int, size: int) -> Callable[[], None]:
        """A message of `size` bytes has come; returns what acknowledges it, which may be called more than once."""
        if not qos:
            return lambda: None
        with self._lock:
            connection, taken = self._connection, _Taken(packet_id, qos)
            self._in_order.append(taken)
            self._messages += 1
            self._bytes += size

        def acknowledge() -> None:
            with self._lock:
                if taken.ended:
                    return
                taken.ended = True
                self._messages -= 1
                self._bytes -= size
                if connection == self._connection:
                    self._send_ended()
            self._room()

        return acknowledge

    def _send_ended(self) -> None:
        """Those that have none before them that is not dealt with."""
        while self._in_order and self._in_order[0].ended:
            first = self._in_order.popleft()
            self._send(first.packet_id, first.qos)
