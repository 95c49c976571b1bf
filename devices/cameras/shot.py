"""One frame as a source gives it: with the time at which it was captured, and not yet converted."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from av import VideoFrame

Pixels = npt.NDArray[np.uint8]
SMALL = 32
"""Pixels a side of the picture that the brightness is taken from."""


class Shot(Protocol):
    """A frame of which nobody knows yet whether anybody wants it.

    Attributes:
        captured: on `time.monotonic()`'s clock.
    """

    captured: float

    def rgb(self) -> Pixels:
        """`(height, width, 3)`."""

    def brightness(self) -> float:
        """The mean of all pixels, 0 to 255."""

    def same_as(self, other: Shot) -> bool:
        """Byte for byte the same picture, which a sensor never takes twice."""


class DecodedShot:
    """A frame of FFmpeg's. Converting one to RGB costs more than decoding it, so that is put off.

    Args:
        encoded: the bytes of a picture by itself; empty where the codec writes differences, which are next to nothing
            for a scene in which nothing moves.
    """

    def __init__(self, frame: VideoFrame, captured: float, encoded: bytes = b"") -> None:
        self._frame, self.captured, self._encoded = frame, captured, encoded

    def rgb(self) -> Pixels:
        """Upright: a phone's video says by how much it is rotated."""
        pixels = np.asarray(self._frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        return np.ascontiguousarray(np.rot90(pixels, round(self._frame.rotation / 90)))

    def brightness(self) -> float:
        return float(self._frame.to_ndarray(width=SMALL, height=SMALL, format="rgb24").mean())

    def same_as(self, other: Shot) -> bool:
        return isinstance(other, DecodedShot) and bool(self._encoded) and self._encoded == other._encoded


class PixelShot:
    """A frame of OpenCV's, BGR."""

    def __init__(self, bgr: Pixels, captured: float) -> None:
        self._bgr, self.captured = bgr, captured

    def rgb(self) -> Pixels:
        return np.asarray(cv2.cvtColor(self._bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def brightness(self) -> float:
        return float(self._bgr.mean())

    def same_as(self, other: Shot) -> bool:
        return isinstance(other, PixelShot) and np.array_equal(self._bgr, other._bgr)
