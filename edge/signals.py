"""Waiting for SIGINT and SIGTERM. A handler that takes a lock, as `Event.set` does, may interrupt itself and hang."""

from __future__ import annotations

import signal
import socket
from types import TracebackType
from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """For the main thread of a process that ends soon after: signals that come later are passed over.

    The interpreter writes each signal's number into a socket, and the handlers themselves do nothing.
    """

    def __enter__(self) -> Self:
        self._numbers, self._written = socket.socketpair()
        self._written.setblocking(False)
        self._before = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, _nothing)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # one that came as its handler is changed would be reported
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        signal.set_wakeup_fd(self._before)
        self._numbers.close()
        self._written.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether one has come."""
        self._numbers.settimeout(timeout_s)
        try:
            return bool(set(self._numbers.recv(4096)) & set(STOPPING))
        except TimeoutError:
            return False


def _nothing(*_: object) -> None:
    """In place of the system's own handler, which would end the process at once."""
