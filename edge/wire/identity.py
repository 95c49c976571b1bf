"""Which request a message is: from what it carries, else from how it was delivered; never from a clock.

A message that carries nothing of its own is told apart by the broker's session, the packet id and the DUP flag: with
DUP, the same packet id in the same session and the same content, it is the request of before; anything else is new.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Delivery:
    """How a QoS 1 message came. `session` marks the broker's session: a new one has a new mark."""

    session: str
    packet_id: int
    dup: bool


@dataclass(frozen=True)
class Use:
    """The latest request that came with a packet id: the digest of its content, and the how manyth it is."""

    content: str
    number: int


def next_use(last: Use | None, content: str, dup: bool) -> Use:
    """The use of a packet id by a message that came now.

    A first delivery that was lost on the way comes with DUP too: its content is not that of the last use, or there is
    none. Where even the content is the same it cannot be told from a redelivery, and is taken as one: nothing acts
    twice.
    """
    if dup and last is not None and last.content == content:
        return last
    return Use(content, 1 if last is None else last.number + 1)


def request_id(*parts: str | bytes) -> str:
    """64 hex digits, the same for the same parts; where one part ends and the next begins counts."""
    encoded = (part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(b"\x00".join(hashlib.sha256(part).digest() for part in encoded)).hexdigest()


def delivered_id(delivery: Delivery, use: Use) -> str:
    return request_id("delivery", delivery.session, str(delivery.packet_id), str(use.number), use.content)


def without_mark(payload: bytes) -> bytes:
    """The payload behind a UTF-8 byte-order mark, or the payload."""
    return payload.removeprefix(codecs.BOM_UTF8)
