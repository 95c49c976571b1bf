"""A frame that is handed in and waited for."""

from __future__ import annotations

import threading
from pathlib import Path

from lineside.devices.cameras.frame import Frame
from lineside.edge.daemon import Daemon
from tests.support.wait import LIMIT_S


def take(daemon: Daemon, path: Path, name: str) -> None:
    """A picture by a camera of the station's own, until it has been dealt with."""
    done = threading.Event()
    daemon.pipeline.offer(Frame("cam0", data=path.read_bytes(), name=name), triggered=False, done=done.set)
    assert done.wait(LIMIT_S)
