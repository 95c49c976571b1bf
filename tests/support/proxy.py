"""A TCP proxy before a real broker, whose faults come beneath a live connection.

It stalls, loses, slows, cuts, tears packets in the middle, and looks at each MQTT packet.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lineside.edge.demo.broker import HOST
from tests.support.packets import packet_end

CLOSE = b""
"""What a `Judge` returns to have the connection closed."""
Judge = Callable[[bytes], bytes | None]
"""Called with each packet of the client, in full: None lets it through; other bytes answer it in the broker's stead."""
Tap = Callable[[int, bool, bytes], None]
"""Called with each packet before it goes on: which connection, whether to the broker, and the packet."""
CHUNK = 64 * 1024


@dataclass
class _Pipe:
    """One direction of one connection."""

    number: int
    up: bool
    source: socket.socket
    sink: socket.socket


class Proxy:
    """Listens on `port`, and connects through to a broker's. What is set holds for open and for later connections.

    Attributes:
        judge: see `Judge`.
        tap: see `Tap`.
        refuses: a new connection is accepted and closed, as by a forwarder without a broker behind it.
        accepted, connections: how many there were, and how many of them reached a broker.
        to_broker, to_client: set while bytes flow in that direction. What is under way when one is cleared is lost
            where its sender cuts the connection meanwhile, as on a line that hangs.
        lose_up, lose_down: bytes to the broker, or from it, vanish (half-open).
        bytes_per_s: in each direction of each connection; 0 for as fast as it goes.
    """

    def __init__(self, broker_port: int, tap: Tap | None = None) -> None:
        self._broker_port, self.tap = broker_port, tap
        self.judge: Judge | None = None
        self.refuses = self.lose_up = self.lose_down = False
        self.bytes_per_s = self.accepted = self.connections = 0
        self.to_broker, self.to_client = threading.Event(), threading.Event()
        self.to_broker.set()
        self.to_client.set()
        self._tear_after: int | None = None
        self._condition = threading.Condition()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def cut(self) -> None:
        """Close every connection; no bytes vanish any more."""
        with self._condition:
            sockets, self._open = self._open, []
        for end in sockets:
            _shut(end)
        self.lose_up = self.lose_down = False  # behind that: what is on its way vanishes too

    def tear(self, after_bytes: int) -> None:
        """Cut every connection when so many bytes more have gone through, in the middle of a packet or not."""
        self._tear_after = after_bytes

    def wait_for_connections(self, count: int, timeout_s: float = 60.0) -> None:
        """Until so many have been made since the start."""
        with self._condition:
            assert self._condition.wait_for(lambda: self.connections >= count, timeout_s), self.connections

    def close(self) -> None:
        self.refuses = True
        self.to_broker.set()
        self.to_client.set()
        _shut(self._listener)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(5)

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="proxy", daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                if self.refuses:
                    raise ConnectionRefusedError
                broker = socket.create_connection((HOST, self._broker_port), timeout=5)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            for end in (client, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._condition:
                self._open += [client, broker]
                self.connections += 1
                self._condition.notify_all()
            ended: list[bool] = []
            for pipe in (_Pipe(self.connections, True, client, broker), _Pipe(self.connections, False, broker, client)):
                self._spawn(self._pump, pipe, ended)

    def _pump(self, pipe: _Pipe, ended: list[bool]) -> None:
        """Whichever direction ends last closes both sockets."""
        buffer = bytearray()
        try:
            while (data := self._read(pipe)) is not None:
                if self.judge is None and self.tap is None and not buffer:
                    self._send(pipe, data)
                    continue
                buffer += data
                while (end := packet_end(buffer)) is not None:
                    packet = bytes(buffer[:end])
                    del buffer[:end]
                    if not self._pass(pipe, packet):
                        return
        except OSError:
            return
        finally:
            _shut(pipe.source)
            _shut(pipe.sink)
            ended.append(True)
            if len(ended) == 2:
                with self._condition:
                    self._open = [end for end in self._open if end not in (pipe.source, pipe.sink)]
                pipe.source.close()
                pipe.sink.close()

    def _read(self, pipe: _Pipe) -> bytes | None:
        """What came; None at the end."""
        flows = self.to_broker if pipe.up else self.to_client
        while True:
            stalled = not flows.is_set()
            flows.wait()
            if stalled and _is_gone(pipe.source):
                return None  # what it had sent was on the line, and is lost with it
            rate = self.bytes_per_s
            data = pipe.source.recv(max(rate // 10, 1) if rate else CHUNK)
            if not data:
                return None
            if not flows.is_set():
                flows.wait()
                if _is_gone(pipe.source):
                    return None
            if rate:
                time.sleep(len(data) / rate)
            if not (self.lose_up if pipe.up else self.lose_down):
                return data

    def _pass(self, pipe: _Pipe, packet: bytes) -> bool:
        """False where the connection is to be closed."""
        answer = self.judge(packet) if pipe.up and self.judge is not None else None
        if answer == CLOSE:
            return False
        if answer is not None:
            pipe.source.sendall(answer)
            return True
        if self.tap is not None:
            self.tap(pipe.number, pipe.up, packet)
        self._send(pipe, packet)
        return True

    def _send(self, pipe: _Pipe, data: bytes) -> None:
        with self._condition:
            left, torn = self._tear_after, False
            if left is not None:
                data, torn = data[:left], left <= len(data)
                self._tear_after = None if torn else left - len(data)
        pipe.sink.sendall(data)
        if torn:
            self.cut()
            raise ConnectionResetError


def _is_gone(sock: socket.socket) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
