"""A video file, network stream or local device as a camera (OpenCV)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from lineside.devices.cameras.frame import Frame
from lineside.devices.errors import CameraError

log = logging.getLogger("lineside.cameras")
DEFAULT_RATE = 25.0
REOPEN_S = (1.0, 2.0, 5.0, 10.0)
"""Waiting times before a lost stream is opened again; the last one repeats."""


class VideoCamera:
    """Reads `source`: a path, an address such as rtsp://..., or a device number such as 0.

    A file plays at its own rate unless `interval_s` is given, and ends. A stream or device that stops is opened again.
    """

    live = True

    def __init__(self, name: str, source: str, interval_s: float, loop: bool) -> None:
        self._name, self._source, self._interval_s, self._loop = name, source, interval_s, loop
        self._live = "://" in source or source.isdigit()

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        failures = 0
        number = 0
        while not stop.is_set():
            with self._open() as capture:
                if not capture.isOpened() and not self._live:
                    raise CameraError(f"camera {self._name}: {self._source} cannot be opened as a video")
                for pixels in self._read(capture, stop):
                    failures = 0
                    number += 1
                    yield Frame(self._name, pixels=pixels, name=f"{number:06d}")
            if self._live:
                if failures == 0:
                    log.warning("camera %s gives no pictures; opening it again until it does", self._name)
                stop.wait(REOPEN_S[min(failures, len(REOPEN_S) - 1)])
                failures += 1
            elif not self._loop:
                return

    @contextmanager
    def _open(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(int(self._source) if self._source.isdigit() else self._source)
        try:
            yield capture
        finally:
            capture.release()

    def _read(self, capture: cv2.VideoCapture, stop: threading.Event) -> Iterator[np.ndarray]:
        """RGB pictures, paced so that a file plays in real time; what nobody waits for is skipped, not queued."""
        rate = capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE
        step = self._interval_s or (0.0 if self._live else 1 / rate)
        skip = 0 if self._live else max(round(step * rate) - 1, 0)
        due = time.monotonic()
        while not stop.is_set():
            good, picture = capture.read()
            if not good:
                return
            for _ in range(skip):
                capture.grab()
            yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            due += step
            if stop.wait(max(due - time.monotonic(), 0.0)):
                return
