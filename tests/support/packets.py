"""MQTT packets as bytes: where one ends, what a PUBLISH says, and what answers it."""

from __future__ import annotations

from dataclasses import dataclass

CONNECT, PUBLISH, PUBACK, SUBSCRIBE = 0x10, 0x30, 0x40, 0x80
PUBACK_REFUSED = 0x80
"""From this reason code on."""


@dataclass(frozen=True)
class Published:
    """What a PUBLISH of MQTT 5 says, without its properties; `mid` is 0 for QoS 0."""

    topic: str
    mid: int
    payload: bytes


def packet_end(buffer: bytes | bytearray) -> int | None:
    """Where the first packet ends; None where it is not all there."""
    length = shift = 0
    for place in range(1, min(len(buffer), 5)):
        length |= (buffer[place] & 127) << shift
        shift += 7
        if not buffer[place] & 128:
            end = place + 1 + length
            return end if len(buffer) >= end else None
    return None


def published(packet: bytes) -> Published | None:
    """None for another packet."""
    if packet[0] & 0xF0 != PUBLISH:
        return None
    place, topic = _topic(packet)
    mid = 0
    if packet[0] & 0x06:
        mid, place = int.from_bytes(packet[place : place + 2], "big"), place + 2
    length = shift = 0
    while True:
        length |= (packet[place] & 127) << shift
        shift += 7
        place += 1
        if not packet[place - 1] & 128:
            return Published(topic, mid, packet[place + length :])


def published_topic(packet: bytes) -> str:
    """Of a PUBLISH; empty for another packet."""
    return _topic(packet)[1] if packet[0] & 0xF0 == PUBLISH else ""


def puback(packet: bytes, code: int) -> bytes:
    """That answers a PUBLISH with QoS 1."""
    place, _ = _topic(packet)
    return b"\x40\x03" + packet[place : place + 2] + bytes([code])


def acknowledged(packet: bytes) -> tuple[int, bool] | None:
    """Of a PUBACK the packet id, and whether it took the message; None for another packet."""
    if packet[0] & 0xF0 != PUBACK:
        return None
    return int.from_bytes(packet[2:4], "big"), len(packet) < 5 or packet[4] < PUBACK_REFUSED


def _topic(packet: bytes) -> tuple[int, str]:
    """Where the topic of a PUBLISH ends, and what it is."""
    start = 1
    while packet[start] & 128:
        start += 1
    end = start + 3 + int.from_bytes(packet[start + 1 : start + 3], "big")
    return end, packet[start + 3 : end].decode()
