"""A folder as a queue: the pictures that are there and those that come, each looked at once."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lineside.devices.cameras.folder import is_picture, readable, unreadable
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.live import CameraHealth
from lineside.devices.cameras.looked_at import LookedAt, State
from lineside.devices.errors import CameraError

log = logging.getLogger("lineside.cameras")
SCAN_S = 0.5
"""How often the folder is looked into; one so large that this takes long, less often."""
SETTLED_S = 1.0
"""A file that has not changed for so long is whole."""
EMPTY_S = 30.0
"""So long an empty file may be one that somebody is about to write."""


@dataclass(frozen=True)
class _File:
    """How a file is, and since when it has been so (`time.monotonic()`); `touched` changes with its permissions too."""

    state: State
    touched: int
    since: float


class WatchedFolder:
    """The oldest picture first. What was looked at is remembered, over a restart too; no file is moved or changed.

    A file is whole when its size and time have not changed for a second; one that was renamed into place is that after
    a second. One that changes later is a new picture. The time of its last change counts as that of its capture.

    Args:
        memory: the file in which it is remembered what was looked at.
    """

    live = False

    def __init__(
        self,
        name: str,
        folder: Path,
        interval_s: float,
        memory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._folder, self._interval_s, self._memory = name, folder, interval_s, memory
        self._clock = clock
        self._problem: CameraError | None = None
        self._looked_at: LookedAt | None = None
        self._waiting: dict[str, _File] = {}
        self._given: dict[str, tuple[str, State]] = {}
        self._unreadable: dict[str, int] = {}

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Until `stop` is set. Raises CameraError where the memory cannot be used."""
        looked_at = self._looked_at = LookedAt(self._memory, self._folder)
        pause_s = 0.0
        while not stop.wait(pause_s):
            began = self._clock()
            whole = self._whole(looked_at)
            pause_s = max(SCAN_S, 4 * (self._clock() - began))
            for name, file in whole:
                if stop.wait(self._interval_s):
                    return
                if (frame := self._read(name, file)) is not None:
                    yield frame

    def dealt_with(self, frame: Frame) -> None:
        """It has its result, or was rejected. From any thread."""
        given = self._given.pop(frame.id, None)
        if given is None or self._looked_at is None:
            return
        try:
            self._looked_at.add(*given)
        except CameraError as error:
            log.error("camera %s: %s is looked at again after a restart: %s", self._name, frame.name, error)

    def health(self) -> CameraHealth:
        """One without new pictures is well; one that cannot be read, as a share that has gone, is not."""
        return CameraHealth(None, self._problem)

    def _whole(self, looked_at: LookedAt) -> list[tuple[str, _File]]:
        """Those to look at now, the oldest first; none where the folder cannot be read."""
        try:
            found = self._scan()
            looked_at.keep_only(found)
        except (OSError, CameraError) as error:
            said = f"{self._folder} cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
            self._problem = CameraError(f"camera {self._name}: {said}", "camera_not_found")
            return []
        self._problem = None
        self._waiting = {name: file for name, file in found.items() if not looked_at.has(name, file.state)}
        self._unreadable = {name: at for name, at in self._unreadable.items() if name in found}
        now = self._clock()
        whole = [
            (name, file)
            for name, file in self._waiting.items()
            if now - file.since >= (SETTLED_S if file.state[0] else EMPTY_S)
            and self._unreadable.get(name) != file.touched
        ]
        return sorted(whole, key=lambda each: (each[1].state[1], each[0]))

    def _scan(self) -> dict[str, _File]:
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not is_picture(entry.name):
                    continue
                try:
                    if not entry.is_file():
                        continue
                    stat = entry.stat()
                    state, touched = (stat.st_size, stat.st_mtime_ns), stat.st_ctime_ns
                except FileNotFoundError:
                    continue
                except OSError:  # such as a link to itself: said when it is read
                    state, touched = (1, 0), 0
                before = self._waiting.get(entry.name)
                same = before is not None and before.state == state
                since = before.since if before is not None and same else self._clock()
                found[entry.name] = _File(state, touched, since)
        return found

    def _read(self, name: str, file: _File) -> Frame | None:
        """None where it has gone, or changed meanwhile."""
        path = self._folder / name
        try:
            with path.open("rb") as opened:
                data = opened.read()
                stat = os.fstat(opened.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable[name] = file.touched
            return unreadable(self._name, path, error)
        if (stat.st_size, stat.st_mtime_ns) != file.state:
            return None
        now = datetime.now(UTC)
        captured_at = min(datetime.fromtimestamp(max(stat.st_mtime, 0.0), UTC), now)
        received = time.monotonic() - (now - captured_at).total_seconds()
        marks = "\0".join((self._name, readable(name), str(stat.st_mtime_ns), hashlib.sha256(data).hexdigest()))
        frame_id = hashlib.sha256(marks.encode()).hexdigest()[:32]
        self._given[frame_id] = name, file.state
        return Frame(
            self._name, data=data, captured_at=captured_at, received=received, name=readable(name), id=frame_id
        )
