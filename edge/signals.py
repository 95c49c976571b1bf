"""Waiting for SIGINT, SIGTERM and SIGHUP. A handler that takes a lock, as `Event.set` does, may hang in itself."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM)
RELOADING = signal.SIGHUP
ENDING_S = 20.0
"""Beyond the time to drain: for threads, the outbox and the farewell."""
log = logging.getLogger("lineside.daemon")


class StopSignals:
    """For the main thread of a process that ends soon after: signals that come later are passed over.

    The interpreter writes each signal's number into a socket, and the handlers themselves do nothing.

    Args:
        reload: called by `wait` where SIGHUP came; without it SIGHUP is left as it is.
    """

    def __init__(self, reload: Callable[[], object] | None = None) -> None:
        self._reload = reload
        self._handled = STOPPING if reload is None else (*STOPPING, RELOADING)

    def __enter__(self) -> Self:
        self._numbers, self._written = socket.socketpair()
        self._written.setblocking(False)
        self._before = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        for number in self._handled:
            signal.signal(number, _nothing)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        signal.pthread_sigmask(
            signal.SIG_BLOCK, self._handled
        )  # one that came as its handler is changed would be reported
        for number in self._handled:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handled)
        signal.set_wakeup_fd(self._before)
        self._numbers.close()
        self._written.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether one has come that stops the process."""
        self._numbers.settimeout(timeout_s)
        try:
            came = set(self._numbers.recv(4096))
        except TimeoutError:
            return False
        if self._reload is not None and RELOADING in came:
            self._reload()
        return bool(came & set(STOPPING))


def _nothing(*_: object) -> None:
    """In place of the system's own handler, which would end the process at once."""


def end_in_time(limit_s: float) -> None:
    """End the process after so long, whatever still runs in it: what had to last is on disk by then."""

    def end() -> None:
        log.critical("the station did not end within %g s", limit_s)
        os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
