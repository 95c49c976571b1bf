"""A folder of pictures as a camera: for demonstrations, for replaying what a station saw, and for tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from lineside.devices.cameras.frame import Frame
from lineside.devices.errors import CameraError

SUFFIXES = {".jpg", ".jpeg", ".png"}


class FolderCamera:
    """Plays the pictures of `folder` in the order of their names. Files are handed on undecoded."""

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
                    data = path.read_bytes()
                except OSError as error:
                    raise CameraError(f"camera {self._name}: {path} cannot be read ({error.strerror})") from error
                yield Frame(self._name, data=data, name=_readable(path.name))
            if not self._loop:
                return

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            raise CameraError(f"camera {self._name}: {self._folder} is not a folder: set `source` to one with pictures")
        paths = sorted(path for path in self._folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise CameraError(f"camera {self._name}: {self._folder} holds no {', '.join(sorted(SUFFIXES))}")
        return paths


def _readable(name: str) -> str:
    """A file name that is not UTF-8 cannot go into a message as it is."""
    return os.fsencode(name).decode("utf-8", "replace")
