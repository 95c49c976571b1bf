"""A local device, such as a USB camera, read by OpenCV."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from lineside.devices.cameras.shot import PixelShot
from lineside.devices.errors import CameraError

MANUAL = 1
"""V4L2_EXPOSURE_MANUAL."""
PER_MS = 10
"""V4L2 counts an exposure in 0.1 ms."""


@dataclass(frozen=True)
class DeviceSettings:
    """What a device is set to; zeros for what it does by itself.

    Attributes:
        size: width and height in pixels.
    """

    size: tuple[int, int] = (0, 0)
    fps: float = 0.0
    exposure_ms: float = 0.0


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def set(self, prop: int, value: float) -> bool: ...

    def get(self, prop: int) -> float: ...


def read_device(source: str, settings: DeviceSettings | None = None) -> Generator[PixelShot, None, None]:
    """Every frame of `source`, a number or a path such as /dev/video0, as soon as it is there.

    Raises:
        CameraError: the device cannot be opened, or does not take its settings.
    """
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    try:
        if not capture.isOpened():
            raise CameraError(f"device {source} cannot be opened", "camera_not_found")
        set_up(capture, source, settings or DeviceSettings())
        while True:
            good, picture = capture.read()
            if not good:
                return
            yield PixelShot(np.asarray(picture, dtype=np.uint8), time.monotonic())
    finally:
        capture.release()


def set_up(capture: Capture, source: str, settings: DeviceSettings) -> None:
    """Raises CameraError: a device takes the nearest that it can, and a region would then lie elsewhere."""
    if settings.size != (0, 0):
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        for prop, value in zip(sides, settings.size, strict=True):
            capture.set(prop, value)
        has = tuple(round(capture.get(prop)) for prop in sides)
        if has != settings.size:
            told = f"device {source} gives {has[0]} x {has[1]} pixels, not the `size` {list(settings.size)}"
            raise CameraError(f"{told}: `v4l2-ctl --list-formats-ext` says which it has")
    if settings.fps and not capture.set(cv2.CAP_PROP_FPS, settings.fps):
        raise CameraError(f"device {source} does not take `fps`: leave the key out")
    if settings.exposure_ms:
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL)
        if not capture.set(cv2.CAP_PROP_EXPOSURE, settings.exposure_ms * PER_MS):
            raise CameraError(f"device {source} does not take `exposure_ms`: leave the key out")
