"""The cameras of a station that have a wire of their own: their threads, and who watches over them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from lineside.devices.cameras.camera import Camera, CameraSettings, open_camera
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.cameras.watched_folder import WatchedFolder
from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config
from lineside.edge.frames.camera_watch import CameraWatch, PushedCamera, Watched
from lineside.edge.frames.cameras import CameraThread
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.frames.switches import Switches


def pushed(config: Config, switches: Switches) -> dict[str, PushedCamera]:
    """Those that somebody sends frames of, and that are switched on."""
    return {
        name: PushedCamera(name, camera.interval_s)
        for name, camera in config.cameras.items()
        if camera.kind == "mqtt" and switches.camera_on(name)
    }


def open_cameras(config: Config, switches: Switches) -> dict[str, Camera]:
    """By name; nothing of them is read before its thread starts."""
    return {
        name: camera
        for name, settings in config.cameras.items()
        if switches.camera_on(name) and (camera := _open(config, name, settings)) is not None
    }


def _open(config: Config, name: str, camera: CameraConfig) -> Camera | None:
    settings = CameraSettings(
        name,
        camera.kind,
        camera.source,
        camera.interval_s,
        camera.loop,
        camera.black_after,
        config.looked_at_path(name) if camera.watch else None,
        camera.size,
        camera.fps,
        camera.exposure_ms,
        camera.producer,
        camera.hardware_trigger,
    )
    return open_camera(settings, config.folder)


class CameraSet:
    """Starts and ends the cameras; `exchange` leaves those alone in which nothing changed that their wire needs."""

    def __init__(
        self,
        config: Config,
        switches: Switches,
        pipeline: Pipeline,
        make_watch: Callable[[dict[str, Watched]], CameraWatch],
        hold: threading.Event,
    ) -> None:
        self._switches, self._pipeline, self._hold = switches, pipeline, hold
        self._config, self._opened = config, open_cameras(config, switches)
        self._pushed = pushed(config, switches)
        self.watch = make_watch(self._watched())
        self._threads = {name: self._thread(name, camera) for name, camera in self._opened.items()}
        self._started = self._closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            self._started = True
            for thread in self._threads.values():
                thread.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            threads = list(self._threads.values())
        for thread in threads:
            thread.close()

    def live(self, name: str) -> LiveCamera | None:
        """The camera of this name where it runs whether anybody looks or not."""
        camera = self._opened.get(name)
        return camera if isinstance(camera, LiveCamera) else None

    def stale(self) -> list[str]:
        """Cameras that give no pictures, and those that are switched off."""
        silent = {name for name, health in self.watch.health().items() if health.error is not None}
        return sorted(silent | {name for name in self._config.cameras if not self._switches.camera_on(name)})

    def exchange(self, config: Config) -> None:
        """Take the station's cameras as they are now, and as they are switched."""
        with self._lock:
            if self._closed:
                return
            same = {name for name in self._opened if self._as_before(config, name)}
            gone = self._threads.keys() - same
            for name in gone:
                self._threads.pop(name).close()
            kept = {name: camera for name, camera in self._opened.items() if name in same}
            new = open_cameras(replace(config, cameras=_without(config.cameras, same)), self._switches)
            arriving = {
                name: self._pushed[name] if name in self._pushed and self._same_wire(config, name) else camera
                for name, camera in pushed(config, self._switches).items()
            }
            new_names = new.keys() | (arriving.keys() - self._pushed.keys())
            known = self._config.cameras.keys() | config.cameras.keys()
            self._config, self._opened, self._pushed = config, kept | new, arriving
            self.watch.exchange(self._watched(), known - self._opened.keys() - arriving.keys(), new_names)
            for name, camera in new.items():
                self._threads[name] = self._thread(name, camera)
                if self._started:
                    self._threads[name].start()

    def _as_before(self, config: Config, name: str) -> bool:
        return self._switches.camera_on(name) and self._same_wire(config, name)

    def _same_wire(self, config: Config, name: str) -> bool:
        return name in config.cameras and _wire(self._config.cameras[name]) == _wire(config.cameras[name])

    def _watched(self) -> dict[str, Watched]:
        """Those that run for ever and are switched on."""
        own: dict[str, Watched] = {
            name: camera for name, camera in self._opened.items() if isinstance(camera, LiveCamera | WatchedFolder)
        }
        return own | self._pushed

    def _thread(self, name: str, camera: Camera) -> CameraThread:
        return CameraThread(name, camera, self._pipeline, self.watch, self._hold)


def _wire(camera: CameraConfig) -> tuple[object, ...]:
    """What a camera is opened with."""
    read = camera.kind, camera.source, camera.interval_s, camera.loop, camera.watch, camera.black_after
    return *read, camera.size, camera.fps, camera.exposure_ms, camera.producer, camera.hardware_trigger


def _without(cameras: dict[str, CameraConfig], names: set[str]) -> dict[str, CameraConfig]:
    return {name: camera for name, camera in cameras.items() if name not in names}
