"""Cameras: anything that yields frames until it ends or is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lineside.devices.cameras.device import read_device
from lineside.devices.cameras.folder import FolderCamera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.live import STALE_INTERVALS, LiveCamera
from lineside.devices.cameras.shot import Shot
from lineside.devices.cameras.stream import read_stream
from lineside.devices.cameras.video_file import VideoFile
from lineside.devices.cameras.watched_folder import WatchedFolder

Kind = Literal["folder", "video", "mqtt"]
READ_S = 10.0
"""A stream that sends nothing for so long is opened anew."""


@dataclass(frozen=True)
class CameraSettings:
    """How to open a camera.

    Attributes:
        kind: `folder` plays pictures, `video` a file, an address or a device; `mqtt` has no wire of its own, its frames
            arrive on `frame/{name}`.
        source: a path, an address such as rtsp://..., or a device, such as 0 or /dev/video0.
        interval_s: time between two pictures; 0 means as fast as the source gives them (a file: at its own rate).
        loop: begin again at the end of a folder or file.
        black_after: so many black frames one after the other are a camera that sees nothing; 0 for never. For an
            address or a device.
        memory: of a folder: watch it, and remember there what was looked at; None plays what is there.
    """

    name: str
    kind: Kind
    source: str = ""
    interval_s: float = 0.0
    loop: bool = False
    black_after: int = 0
    memory: Path | None = None


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
    path = base / settings.source
    if settings.kind == "folder" and settings.memory is not None:
        return WatchedFolder(settings.name, path, settings.interval_s, settings.memory)
    if settings.kind == "folder":
        return FolderCamera(settings.name, path, settings.interval_s, settings.loop)
    if "://" in settings.source or settings.source.isdigit() or path.is_char_device():
        return _open_live(settings, str(path) if path.is_char_device() else settings.source)
    return VideoFile(settings.name, path, settings.interval_s, settings.loop)


def _open_live(settings: CameraSettings, source: str) -> LiveCamera:
    """A stream that sends nothing for a while is opened anew, later where frames are wanted seldom."""

    def read() -> Generator[Shot, None, None]:
        if "://" in source:
            return read_stream(source, max(READ_S, STALE_INTERVALS * settings.interval_s))
        return read_device(source)

    return LiveCamera(settings.name, read, settings.interval_s, settings.black_after)
