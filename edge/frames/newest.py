"""The newest frame of each camera, for whoever wants one now: a trigger, a question."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.errors import CameraError
from lineside.edge.errors import RequestError


class NewestFrames:
    """A live camera is asked itself; of any other the frame that came last is kept, as it came.

    Args:
        live: the camera of this name where it is a live one.
    """

    def __init__(self, live: Callable[[str], LiveCamera | None]) -> None:
        self._live = live
        self._arrived = threading.Condition()
        self._frames: dict[str, Frame] = {}

    def put(self, frame: Frame) -> None:
        with self._arrived:
            self._frames[frame.camera] = frame
            self._arrived.notify_all()

    def latest(self, camera: str, max_age_s: float) -> Frame:
        """The newest frame, with its own time of capture.

        Raises:
            RequestError: there is none, or it is older than that; `camera_silent` or why the camera has none.
        """
        if (live := self._live(camera)) is not None:
            try:
                return live.read_latest(max_age_s * 1e3)
            except CameraError as error:
                raise RequestError(error.code, str(error)) from error
        with self._arrived:
            frame = self._frames.get(camera)
        if frame is None:
            raise RequestError("camera_silent", f"camera {camera}: no frame yet")
        if (age_s := time.monotonic() - frame.received) > max_age_s:
            raise RequestError("camera_silent", f"camera {camera}: its last frame is {age_s:.1f} s old")
        return frame

    def after(self, camera: str, moment: float, timeout_s: float) -> Frame:
        """The first frame that is captured at `moment` (`time.monotonic()`) or later, as soon as it is there.

        Raises:
            RequestError: none came in time; `camera_silent` or why the camera has none.
        """
        if (live := self._live(camera)) is not None:
            try:
                return live.read_after(moment, timeout_s * 1e3)
            except CameraError as error:
                raise RequestError(error.code, str(error)) from error
        with self._arrived:
            self._arrived.wait_for(lambda: self._is_new(camera, moment), timeout_s)
            if self._is_new(camera, moment):
                return self._frames[camera]
        raise RequestError("camera_silent", f"camera {camera}: no frame within {timeout_s:g} s")

    def _is_new(self, camera: str, moment: float) -> bool:
        return camera in self._frames and self._frames[camera].received >= moment
