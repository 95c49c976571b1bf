"""A client of a few bytes for measurements: no threads, and a time for each packet as it leaves and arrives."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

from lineside.edge.demo.broker import HOST
from tests.support.packets import CONNECT, SUBSCRIBE, Published, packet_end, published

PUBLISH_QOS_0 = 0x30
USER_PROPERTY = 0x26


def packet(kind: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([kind])
    while True:
        length, digit = divmod(length, 128)
        head.append(digit | (128 if length else 0))
        if not length:
            return bytes(head) + body


def text(said: str) -> bytes:
    encoded = said.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def frame_packet(topic: str, part: str, payload: bytes) -> bytes:
    """With QoS 0."""
    attached = bytes([USER_PROPERTY]) + text("part_id") + text(part)
    return packet(PUBLISH_QOS_0, text(topic) + bytes([len(attached)]) + attached + payload)


class Wire:
    """Connected, and subscribed to `topic` with QoS 0."""

    def __init__(self, port: int, topic: str) -> None:
        self._buffer = bytearray()
        self._socket = socket.create_connection((HOST, port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(packet(CONNECT, text("MQTT") + b"\x05\x02\x00\x00\x00" + text("wire")))
        self._wait_for_packet()
        self._socket.sendall(packet(SUBSCRIBE | 2, b"\x00\x01\x00" + text(topic) + b"\x00"))
        self._wait_for_packet()

    def _wait_for_packet(self) -> None:
        while (end := packet_end(self._buffer)) is None:
            self._buffer += self._socket.recv(65536)
        del self._buffer[:end]

    def send(self, whole: bytes) -> float:
        """Returns when it began, on `time.perf_counter()`."""
        began = time.perf_counter()
        self._socket.sendall(whole)
        return began

    def arrived(self, until: float) -> Iterator[tuple[float, Published]]:
        """What comes until `until`, with the time of its last byte; both on `time.perf_counter()`."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while (left := until - time.perf_counter()) > 0:
            if not poller.poll(left * 1000):
                return
            self._buffer += self._socket.recv(1 << 20)
            now = time.perf_counter()
            while (end := packet_end(self._buffer)) is not None:
                message = published(bytes(self._buffer[:end]))
                del self._buffer[:end]
                if message is not None:
                    yield now, message

    def close(self) -> None:
        self._socket.close()
