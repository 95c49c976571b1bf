"""A folder of pictures as a camera: for demonstrations, for replaying what a station saw, and for tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from lineside.devices.cameras.frame import Frame
from lineside.devices.errors import CameraError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
NOT_READ = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng"})
"""Pictures that are handed on to be rejected by name, not passed over without a word."""


class FolderCamera:
    """Plays the pictures of `folder` in the order of their names. Files are handed on undecoded; one that cannot be
    read is handed on with the reason.
    """

    live = False

    def __init__(self, name: str, folder: Path, interval_s: float, loop: bool) -> None:
        self._name, self._folder, self._interval_s, self._loop = name, folder, interval_s, loop

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        paths = self._paths()
        while True:
            for path in paths:
                if stop.wait(self._interval_s):
                    return
                try:
                    frame = Frame(self._name, data=path.read_bytes(), name=readable(path.name))
                except OSError as error:
                    frame = unreadable(self._name, path, error)
                yield frame
            if not self._loop:
                return

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            raise CameraError(f"camera {self._name}: {self._folder} is not a folder: set `source` to one with pictures")
        paths = sorted(path for path in self._folder.iterdir() if is_picture(path.name))
        if not paths:
            raise CameraError(f"camera {self._name}: {self._folder} holds no {', '.join(sorted(SUFFIXES))}")
        return paths


def is_picture(name: str) -> bool:
    """By its ending. Hidden files are none: some programs write into one and rename it."""
    return os.path.splitext(name)[1].lower() in SUFFIXES | NOT_READ and not name.startswith(".")


def unreadable(camera: str, path: Path, error: OSError) -> Frame:
    """A frame without a picture, and why."""
    said = f"{readable(str(path))} cannot be read ({error.strerror or error})"
    return Frame(camera, name=readable(path.name), problem=said)


def readable(name: str) -> str:
    """A file name that is not UTF-8 cannot go into a message as it is."""
    return os.fsencode(name).decode("utf-8", "replace")
