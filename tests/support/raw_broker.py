"""A broker made of prepared bytes, for packets that no real one lets through: one client at a time."""

from __future__ import annotations

import socket
import threading

from lineside.edge.demo.broker import HOST
from tests.support.packets import CONNECT, PUBACK, SUBSCRIBE, packet_end

CONNACK, SUBACK = b"\x20\x03\x00\x00\x00", b"\x90\x04\x00\x01\x00\x01"


class RawBroker:
    """Greets a client, answers its subscription with `packets`, and notes the packet ids that it acknowledges.

    Attributes:
        connections: how many there were.
        acknowledged: packet ids, in the order in which they came.
    """

    def __init__(self, packets: list[bytes], greeting: bytes = CONNACK) -> None:
        self._packets, self._greeting = packets, greeting
        self._client: socket.socket | None = None
        self.connections = 0
        self.acknowledged: list[int] = []
        self.condition = threading.Condition()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, acknowledged: list[int]) -> bool:
        with self.condition:
            return self.condition.wait_for(lambda: self.acknowledged == acknowledged, 20)

    def send(self, packet: bytes) -> None:
        """To the client that is connected."""
        if self._client is not None:
            self._client.sendall(packet)

    def __enter__(self) -> RawBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._client = client
            with client:
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        buffer = b""
        while data := client.recv(65536):
            buffer += data
            while (end := packet_end(buffer)) is not None:
                packet, buffer = buffer[:end], buffer[end:]
                kind = packet[0] & 0xF0
                if kind == CONNECT:
                    client.sendall(self._greeting)
                elif kind == SUBSCRIBE:
                    client.sendall(SUBACK[:2] + packet[2:4] + SUBACK[4:])
                    for prepared in self._packets:
                        client.sendall(prepared)
                elif kind == PUBACK:
                    with self.condition:
                        self.acknowledged.append(int.from_bytes(packet[2:4], "big"))
                        self.condition.notify_all()


def publish(topic: bytes, mid: int, properties: bytes, payload: bytes = b"x") -> bytes:
    """A PUBLISH with QoS 1 and its properties as they are."""
    body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big")
    body += bytes([len(properties)]) + properties + payload
    return b"\x32" + bytes([len(body)]) + body
