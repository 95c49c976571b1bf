"""Cameras: anything that yields frames until it ends or is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lineside.devices.cameras.device import DeviceSettings, read_device
from lineside.devices.cameras.folder import FolderCamera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.genicam import GenicamSettings, read_genicam
from lineside.devices.cameras.gstreamer import read_gstreamer
from lineside.devices.cameras.live import STALE_INTERVALS, LiveCamera
from lineside.devices.cameras.shot import Shot
from lineside.devices.cameras.stream import read_stream
from lineside.devices.cameras.video_file import VideoFile
from lineside.devices.cameras.watched_folder import WatchedFolder

Kind = Literal["folder", "video", "gstreamer", "genicam", "mqtt"]
READ_S = 10.0
"""A stream that sends nothing for so long is opened anew."""


@dataclass(frozen=True)
class CameraSettings:
    """How to open a camera.

    Attributes:
        kind: `folder` plays pictures, `video` a file, an address or a device, `gstreamer` a pipeline, `genicam` an
            industrial camera; `mqtt` has no wire of its own, its frames arrive on `frame/{name}`.
        source: a path, an address such as rtsp://..., or a device, such as 0 or /dev/video0; a pipeline; a serial
            number.
        interval_s: time between two pictures; 0 means as fast as the source gives them (a file: at its own rate).
        loop: begin again at the end of a folder or file.
        black_after: so many black frames one after the other are a camera that sees nothing; 0 for never. For an
            address or a device.
        memory: of a folder: watch it, and remember there what was looked at; None plays what is there.
        size, fps, exposure_ms: of a device, `exposure_ms` of a GenICam camera too; zeros leave them as they are.
        producer, hardware_trigger: of a GenICam camera.
    """

    name: str
    kind: Kind
    source: str = ""
    interval_s: float = 0.0
    loop: bool = False
    black_after: int = 0
    memory: Path | None = None
    size: tuple[int, int] = (0, 0)
    fps: float = 0.0
    exposure_ms: float = 0.0
    producer: str = ""
    hardware_trigger: str = ""


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
    if settings.kind == "gstreamer":
        silent_s = max(READ_S, STALE_INTERVALS * settings.interval_s)
        return _live(settings, lambda: read_gstreamer(settings.source, silent_s))
    if settings.kind == "genicam":
        return _open_genicam(settings, base)
    is_device = path.is_char_device() or path.is_relative_to("/dev")  # that of a camera that is not plugged in, too
    if "://" in settings.source or settings.source.isdigit() or is_device:
        return _open_live(settings, str(path) if is_device else settings.source)
    return VideoFile(settings.name, path, settings.interval_s, settings.loop)


def _open_live(settings: CameraSettings, source: str) -> LiveCamera:
    """A stream that sends nothing for a while is opened anew, later where frames are wanted seldom."""

    def read() -> Generator[Shot, None, None]:
        if "://" in source:
            return read_stream(source, max(READ_S, STALE_INTERVALS * settings.interval_s))
        return read_device(source, DeviceSettings(settings.size, settings.fps, settings.exposure_ms))

    return _live(settings, read)


def _open_genicam(settings: CameraSettings, base: Path) -> LiveCamera:
    producer = base / settings.producer if settings.producer else None
    genicam = GenicamSettings(settings.source, producer, settings.exposure_ms, settings.hardware_trigger)
    silent_s = max(READ_S, STALE_INTERVALS * settings.interval_s)
    return _live(settings, lambda: read_genicam(genicam, silent_s), expected=not settings.hardware_trigger)


def _live(
    settings: CameraSettings, read: Callable[[], Generator[Shot | None, None, None]], *, expected: bool = True
) -> LiveCamera:
    return LiveCamera(settings.name, read, settings.interval_s, settings.black_after, expected=expected)
