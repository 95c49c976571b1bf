"""A TCP proxy before a real broker, whose faults come beneath a live connection.

It can stall either direction (what is under way is lost where its sender cuts the connection meanwhile, as on a line
that hangs), cut all connections, close each new one at once, and look at each MQTT packet that comes from the client.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable

from lineside.edge.demo.broker import HOST

CLOSE = b""
"""What a `Judge` returns to have the connection closed."""
PUBLISH = 0x30
Judge = Callable[[bytes], bytes | None]
"""Called with each packet of the client, in full: None lets it through; other bytes answer it in the broker's stead."""


class Proxy:
    """Listens on `port`, and connects through to a broker's.

    Attributes:
        judge: see `Judge`.
        closes_at_once: whether a new connection is accepted and closed, as by a forwarder without a broker behind it.
        accepted: how many connections there were.
        to_broker, to_client: set while bytes flow in that direction.
    """

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self.judge: Judge = lambda _packet: None
        self.closes_at_once = False
        self.accepted = 0
        self.to_broker, self.to_client = threading.Event(), threading.Event()
        self.to_broker.set()
        self.to_client.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def cut(self) -> None:
        """Every connection, both ways."""
        for sock in self._sockets:
            _shut(sock)

    def close(self) -> None:
        self.to_broker.set()
        self.to_client.set()
        _shut(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for sock in self._sockets:
            sock.close()

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.closes_at_once:
                client.close()
                continue
            try:
                broker = socket.create_connection((HOST, self._broker_port), timeout=5)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            for sock in (client, broker):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, broker]
            self._spawn(self._pump, client, broker, self.to_broker, True)
            self._spawn(self._pump, broker, client, self.to_client, False)

    def _pump(self, source: socket.socket, target: socket.socket, flows: threading.Event, judged: bool) -> None:
        buffer = b""
        try:
            while True:
                stalled = not flows.is_set()
                flows.wait()
                if stalled and _is_gone(source):
                    break  # what it had sent was on the line, and is lost with it
                data = source.recv(65536)
                if not data:
                    break
                if not flows.is_set():
                    flows.wait()
                    if _is_gone(source):
                        break
                if not judged:
                    target.sendall(data)
                    continue
                buffer += data
                while (end := packet_end(buffer)) is not None:
                    packet, buffer = buffer[:end], buffer[end:]
                    answer = self.judge(packet)
                    if answer == CLOSE:
                        return
                    if answer is None:
                        target.sendall(packet)
                    else:
                        source.sendall(answer)
        except OSError:
            return
        finally:
            _shut(source)
            _shut(target)


def _is_gone(sock: socket.socket) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def packet_end(buffer: bytes) -> int | None:
    """Where the first MQTT packet ends; None where it is not all there."""
    length = shift = 0
    for place in range(1, min(len(buffer), 5)):
        length |= (buffer[place] & 127) << shift
        shift += 7
        if not buffer[place] & 128:
            end = place + 1 + length
            return end if len(buffer) >= end else None
    return None


def published_topic(packet: bytes) -> str:
    """Of a PUBLISH; empty for another packet."""
    if packet[0] & 0xF0 != PUBLISH:
        return ""
    start = _body(packet)
    return packet[start + 2 : start + 2 + int.from_bytes(packet[start : start + 2], "big")].decode()


def puback(packet: bytes, code: int) -> bytes:
    """That answers a PUBLISH with QoS 1."""
    start = _body(packet)
    mid = start + 2 + int.from_bytes(packet[start : start + 2], "big")
    return b"\x40\x03" + packet[mid : mid + 2] + bytes([code])


def _body(packet: bytes) -> int:
    place = 1
    while packet[place] & 128:
        place += 1
    return place + 1
