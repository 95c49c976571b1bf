"""What goes over a connection: an incoming message, and what became of one that was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """

    kind: Literal["acknowledged", "refused", "lost"]
    reason: str = ""
    code: int = 0
    suspicious: bool = False
    proved: bool = False
