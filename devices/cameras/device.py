"""A local device, such as a USB camera, read by OpenCV."""

from __future__ import annotations

import time
from collections.abc import Generator

import cv2
import numpy as np

from lineside.devices.cameras.shot import PixelShot
from lineside.devices.errors import CameraError


def read_device(source: str) -> Generator[PixelShot, None, None]:
    """Every frame of `source`, a number or a path such as /dev/video0, as soon as it is there.

    Raises:
        CameraError: the device cannot be opened.
    """
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    try:
        if not capture.isOpened():
            raise CameraError(f"device {source} cannot be opened", "camera_not_found")
        while True:
            good, picture = capture.read()
            if not good:
                return
            yield PixelShot(np.asarray(picture, dtype=np.uint8), time.monotonic())
    finally:
        capture.release()
