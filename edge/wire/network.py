"""The thread behind a connection: it connects, serves the socket, and connects again.

paho's own loop hides why it could not connect, cannot leave a socket unread, and knows nothing of what is out of date.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from lineside.edge.errors import ConfigError
from lineside.edge.wire.causes import Reports
from lineside.edge.wire.paho_client import PahoClient

log = logging.getLogger("lineside.mqtt")
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
TICK_S = 1.0
GOODBYE_S = 2.0


@dataclass(frozen=True)
class Again:
    """When to connect again.

    Attributes:
        stood: the connection had stood: what was waited for before counts no more.
        at_once: there is another broker, or another version of MQTT, to try first.
        least_s: the least seconds to wait, else.
    """

    stood: bool = False
    at_once: bool = False
    least_s: float = 0.0


class Owner(Protocol):
    """Whose connection it is; all but `stands` is called on the network thread only."""

    def begin(self) -> None:
        """Before each attempt. Raises ConfigError where it cannot be made."""

    def is_full(self) -> bool:
        """Whether nothing more is to be read for now."""

    def next_check_s(self) -> float:
        """How long the thread may sleep at most."""

    def check(self) -> None:
        """After each round; may cut the connection."""

    def failed(self, error: Exception) -> Again:
        """No connection could be made."""

    def lost(self) -> Again:
        """The connection is gone."""


class Network:
    """Serves `client` for `owner` until `stop`."""

    def __init__(self, name: str, owner: Owner) -> None:
        self._owner = owner
        self._stopping, self._now = threading.Event(), threading.Event()
        self._goodbye_until = 0.0
        self.reports = Reports(log)
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{name}", daemon=True)
        self._client: PahoClient | None = None
        self._writer: socket.socket | None = None

    def start(self, client: PahoClient) -> None:
        self._client = client
        self._thread.start()

    def wake(self) -> None:
        """From any thread: there is something to write, or to read again."""
        if self._writer is not None:
            with suppress(OSError):  # it is awake already, or has ended
                self._writer.send(b"\x00")

    def connect_now(self) -> None:
        """End the wait before the next attempt."""
        self._now.set()

    def stop(self, goodbye: Callable[[], object]) -> None:
        """Say goodbye, and end the thread once that is out."""
        if not self._thread.is_alive():
            return
        self._goodbye_until = time.monotonic() + GOODBYE_S
        self._stopping.set()
        self._now.set()
        goodbye()
        self.wake()
        self._thread.join(timeout=3 * GOODBYE_S)

    def _run(self) -> None:
        client = self._client
        if client is None:
            raise RuntimeError("start() has not been called")
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            self._writer = writer
            self._keep_up(client, reader)

    def _keep_up(self, client: PahoClient, reader: socket.socket) -> None:
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            try:
                self._owner.begin()
                client.reconnect()
            except (OSError, ValueError, ConfigError) as error:
                again = self._owner.failed(error)
            else:
                self._serve(client, reader)
                again = self._owner.lost()
            if again.at_once:
                continue
            wait_s = FIRST_WAIT_S if again.stood else wait_s
            self._now.wait(max(wait_s, again.least_s))
            self._now.clear()
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _serve(self, client: PahoClient, reader: socket.socket) -> None:
        """Until the socket is closed."""
        while (sock := client.socket()) is not None:
            if self._stopping.is_set() and time.monotonic() > self._goodbye_until:
                client.reset()
                return
            full = self._owner.is_full()
            if full:
                client.excuse_silence()
            events = self._poll(client, sock, reader, read=not full)
            if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) and full:
                client.reset()
                return
            if events & ~select.POLLOUT and not full:
                client.loop_read()
            if client.want_write():
                client.loop_write()
            client.loop_misc()
            self._owner.check()

    def _poll(self, client: PahoClient, sock: object, reader: socket.socket, *, read: bool) -> int:
        """Wait for the socket; what is ready there."""
        pending = read and client.has_pending()
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if client.want_write() else 0))  # type: ignore[arg-type]
        timeout_s = 0.0 if pending else min(TICK_S, self._owner.next_check_s())
        try:
            ready = dict(poller.poll(timeout_s * 1000))
        except (OSError, ValueError):
            return 0
        if ready.pop(reader.fileno(), 0):
            with suppress(BlockingIOError):
                reader.recv(4096)
        return sum(ready.values()) | (select.POLLIN if pending else 0)
