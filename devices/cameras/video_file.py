"""A video file as a camera: it plays in its own time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.shot import DecodedShot
from lineside.devices.cameras.stream import decode, open_video
from lineside.devices.errors import CameraError


class VideoFile:
    """Plays `path` by the times that stand in it, whatever it says of its rate, and ends.

    With `interval_s` one frame of as many seconds is given. The newest frame counts: what nobody waits for is skipped.
    """

    live = True

    def __init__(self, name: str, path: Path, interval_s: float, loop: bool) -> None:
        self._name, self._path, self._interval_s, self._loop = name, path, interval_s, loop

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        number = 0
        while not stop.is_set():
            began = number
            for shot in self._play(stop):
                number += 1
                yield Frame(self._name, pixels=shot.rgb(), name=f"{number:06d}")
            if not self._loop or number == began:
                return

    def _play(self, stop: threading.Event) -> Iterator[DecodedShot]:
        """Each frame that is due, when it is due."""
        try:
            with open_video(str(self._path)) as (container, stream):
                first, due = None, 0.0
                for packet in container.demux(stream):
                    for frame in decode(packet):
                        at = frame.time or 0.0
                        if first is None:
                            first, started = at, time.monotonic()
                        if at - first < due:
                            continue
                        if self._interval_s:
                            due += self._interval_s * ((at - first - due) // self._interval_s + 1)
                        if stop.wait(max(started + at - first - time.monotonic(), 0.0)):
                            return
                        yield DecodedShot(frame, time.monotonic())
        except CameraError as error:
            raise CameraError(f"camera {self._name}: {error}", error.code) from error
