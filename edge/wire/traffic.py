"""What goes over a connection: an incoming message, and what became of one that was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from lineside.edge.wire.identity import Delivery


@dataclass(frozen=True)
class Message:
    """An incoming message. `acknowledge` must be called once for QoS 1; until then the broker keeps the message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    response_topic: str
    correlation: bytes | None
    expiry_s: int | None
    user: dict[str, str]
    acknowledge: Callable[[], None]
    packet_id: int = 0
    dup: bool = False
    session: str = ""
    """Marks the broker's session: a new one has a new mark."""

    @property
    def delivery(self) -> Delivery | None:
        """How it came; None for QoS 0, which nobody delivers again."""
        return Delivery(self.session, self.packet_id, self.dup) if self.qos else None


@dataclass(frozen=True)
class Ending:
    """What became of a message that was handed over.

    Attributes:
        code: the broker's reason code, where it refused the message.
        suspicious: the broker closed the connection soon after this one.
        proved: it had taken others on the same connection.
        connection: which one it was lost with, counted from 1.
    """

    kind: Literal["acknowledged", "refused", "lost"]
    reason: str = ""
    code: int = 0
    suspicious: bool = False
    proved: bool = False
    connection: int = field(default=0, compare=False)


class ClosedOver:
    """Connections that the broker closed soon after a message of one kind. Several that are lost with one connection
    count once: a link that broke under three of them is not a broker that refused three times.
    """

    def __init__(self) -> None:
        self._connections = set[int]()

    def add(self, ending: Ending) -> int:
        """Returns how many connections there are."""
        self._connections.add(ending.connection)
        return len(self._connections)

    def forget(self) -> None:
        self._connections.clear()
