"""Cameras and their inspection, on and off, as the station file says now."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from lineside.edge.camera_config import CameraConfig
from lineside.edge.errors import RequestError


class Switches:
    """Asked by every frame, from any thread."""

    def __init__(self, cameras: Mapping[str, CameraConfig]) -> None:
        self._lock = threading.Lock()
        self._cameras = dict(cameras)

    def exchange(self, cameras: Mapping[str, CameraConfig]) -> None:
        with self._lock:
            self._cameras = dict(cameras)

    def camera_on(self, name: str) -> bool:
        with self._lock:
            return name not in self._cameras or self._cameras[name].enabled

    def inspected(self, name: str) -> bool:
        with self._lock:
            return name not in self._cameras or (self._cameras[name].enabled and self._cameras[name].inspected)

    def sentences(self) -> dict[str, str]:
        """What is switched off, by camera."""
        with self._lock:
            cameras = dict(self._cameras)
        return {
            name: f"{name} is not inspected: `cameras.{name}.inspected` is false"
            if camera.enabled
            else f"camera {name} is switched off: `cameras.{name}.enabled` is false"
            for name, camera in cameras.items()
            if not (camera.enabled and camera.inspected)
        }

    def check(self, name: str) -> None:
        """Raises RequestError where a frame of this camera has no result."""
        if sentence := self.sentences().get(name):
            raise RequestError("switched_off", sentence)
