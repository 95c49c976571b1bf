"""Camera threads: each plays one camera into the pipeline until it ends."""

from __future__ import annotations

import threading
from functools import partial

from lineside.devices.cameras.camera import Camera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.watched_folder import WatchedFolder
from lineside.devices.errors import CameraError
from lineside.edge.frames.camera_watch import CameraWatch
from lineside.edge.frames.pipeline import Pipeline


class CameraThread:
    """Plays `camera`; `hold` delays the first frame until the daemon is online.

    A live camera's newest frame replaces the one that waits. Any other is a queue: each of its frames is dealt with
    before the next is read, and none gets too old.
    """

    def __init__(
        self, name: str, camera: Camera, pipeline: Pipeline, watch: CameraWatch, hold: threading.Event
    ) -> None:
        self._name, self._camera, self._pipeline = name, camera, pipeline
        self._watch, self._hold = watch, hold
        self._stop = threading.Event()
        self._condition, self._under_way = threading.Condition(), 0
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._hold.set()
        with self._condition:
            self._condition.notify_all()
        self._thread.join(timeout=5)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        self._hold.wait()
        try:
            for frame in self._camera.frames(self._stop):
                with self._condition:
                    self._under_way += 1
                done = partial(self._dealt_with, frame)
                self._pipeline.offer(frame, triggered=False, done=done, ages=self._camera.live)
                if not self._camera.live:
                    self._wait_for_results()
            self._wait_for_results()
        except CameraError as error:
            self._watch.failed(self._name, error)
            return
        if not self._stop.is_set():
            self._watch.ended(self._name)

    def _dealt_with(self, frame: Frame) -> None:
        if isinstance(self._camera, WatchedFolder):
            self._camera.dealt_with(frame)
        with self._condition:
            self._under_way -= 1
            self._condition.notify_all()

    def _wait_for_results(self) -> None:
        """Until every frame was dealt with, or the station stops."""
        with self._condition:
            self._condition.wait_for(lambda: not self._under_way or self._stop.is_set())
