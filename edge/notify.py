"""Tells the service manager that the daemon is ready, alive and stopping: systemd's protocol of `NOTIFY_SOCKET`.

Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping

HALF = 2
"""So often within the time that the manager gives, as its manual advises."""


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send lines such as `READY=1`; False where no manager listens."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            line.sendall(state.encode())
    except OSError:
        return False
    return True


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float:
    """Within how many seconds the manager wants to hear from us; 0 where it does not, or means another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(int(environment.get("WATCHDOG_USEC", "0")) / 1e6, 0.0)
    except ValueError:
        return 0.0


class Watchdog:
    """Feeds the manager's watchdog for as long as `stuck` names no loop. A loop that hangs lets it starve.

    Does nothing where the manager has no watchdog for us.
    """

    def __init__(self, stuck: Callable[[], list[str]], environment: Mapping[str, str] = os.environ) -> None:
        self._stuck, self._environment = stuck, environment
        self._every_s = watchdog_s(environment) / HALF
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        if self._every_s:
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            stuck = self._stuck()
            if stuck:
                notify(f"STATUS=stuck: {', '.join(stuck)}", self._environment)
            else:
                notify("WATCHDOG=1", self._environment)
