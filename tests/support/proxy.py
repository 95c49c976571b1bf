"""A TCP proxy between a station and its broker, for what a link does: cut, hold, and lose one direction."""

from __future__ import annotations

import contextlib
import socket
import threading

from lineside.edge.demo.broker import HOST

CHUNK = 64 * 1024


class Proxy:
    """Forwards connections on `port` to `target`. What a test sets holds for open and for later connections.

    Attributes:
        lose_up: bytes from the client to the broker vanish (half-open).
        lose_down: bytes from the broker to the client vanish.
        refuse: new connections are closed at once.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.lose_up = self.lose_down = self.refuse = False
        self.connections = 0
        self._flows = threading.Event()
        self._flows.set()
        self._condition = threading.Condition()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def hold(self) -> None:
        """Let nothing through in either direction, and lose nothing, until `release`."""
        self._flows.clear()

    def release(self) -> None:
        self._flows.set()

    def cut(self) -> None:
        """Close every connection; new ones are let through again, both ways."""
        self.lose_up = self.lose_down = False
        with self._condition:
            sockets, self._open = self._open, []
        for end in sockets:
            _close(end)

    def wait_for_connections(self, count: int, timeout_s: float = 60.0) -> None:
        """Until so many have been made since the start."""
        with self._condition:
            assert self._condition.wait_for(lambda: self.connections >= count, timeout_s), self.connections

    def close(self) -> None:
        self.refuse = True
        _close(self._listener)
        self.release()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                if self.refuse:
                    client.close()
                    continue
                broker = socket.create_connection((HOST, self._target))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                client.close()  # no broker: as if there were none behind the port
                continue
            for end in (client, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._condition:
                self._open += [client, broker]
                self.connections += 1
                self._condition.notify_all()
            for source, sink, up in ((client, broker, True), (broker, client, False)):
                threading.Thread(target=self._forward, args=(source, sink, up), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        try:
            while data := source.recv(CHUNK):
                self._flows.wait()
                if not (self.lose_up if up else self.lose_down):
                    sink.sendall(data)
        except OSError:
            pass
        _close(sink)
        _close(source)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
