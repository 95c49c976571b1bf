"""Cameras: anything that yields frames until it ends or is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lineside.devices.cameras.folder import FolderCamera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.video import VideoCamera

Kind = Literal["folder", "video", "mqtt"]


@dataclass(frozen=True)
class CameraSettings:
    """How to open a camera.

    Attributes:
        kind: `folder` plays pictures, `video` a file, an RTSP address or a device number; `mqtt` has no wire of its
            own, its frames arrive on `frame/{name}`.
        source: path, address or device number.
        interval_s: time between two pictures; 0 means as fast as the source gives them (a file: at its own rate).
        loop: begin again at the end of a folder or file.
    """

    name: str
    kind: Kind
    source: str = ""
    interval_s: float = 0.0
    loop: bool = False


class Camera(Protocol):
    """Attributes:
    live: only the newest frame counts; False where each is to be looked at, however long it takes.
    """

    live: bool

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield frames until the source ends or `stop` is set. Nothing stays open afterwards.

        Raises CameraError where the source cannot be opened, or fails for good.
        """


def open_camera(settings: CameraSettings, base: Path) -> Camera | None:
    """The camera for these settings, None for kind `mqtt`. Relative paths are taken from `base`."""
    if settings.kind == "mqtt":
        return None
    source = settings.source
    if settings.kind == "folder":
        return FolderCamera(settings.name, base / source, settings.interval_s, settings.loop)
    path = base / source
    return VideoCamera(settings.name, str(path) if path.exists() else source, settings.interval_s, settings.loop)
