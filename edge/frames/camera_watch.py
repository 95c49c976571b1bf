"""Looks after the cameras: one that gives no pictures is said on MQTT, with the reason, and so is its return."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, Protocol

from lineside.devices.cameras.live import STALE_INTERVALS, STALE_S, CameraHealth
from lineside.devices.errors import CameraError
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.last_state import LastState
from lineside.edge.wire.health import WireCamera
from lineside.edge.wire.messages import JSON_TYPE, Event, WireError
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics

log = logging.getLogger("lineside.cameras")
LOOK_S = 0.2


class Watched(Protocol):
    def health(self) -> CameraHealth: ...


class PushedCamera:
    """A camera whose frames somebody sends over MQTT; one in `interval_s` is expected, 0 where nobody knows when."""

    def __init__(self, name: str, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._interval_s, self._clock = name, interval_s, clock
        self._since: float | None = None
        self._arrived = False

    def connected(self) -> None:
        """From now on one can arrive. On the network thread, as `arrived`."""
        self._since = self._clock()

    def arrived(self) -> None:
        self._since, self._arrived = self._clock(), True

    def health(self) -> CameraHealth:
        if self._since is None or not (self._arrived or self._interval_s):
            return CameraHealth(None, None)
        age_s = self._clock() - self._since
        if not self._interval_s or age_s <= max(STALE_S, STALE_INTERVALS * self._interval_s):
            return CameraHealth(age_s, None)
        return CameraHealth(age_s, CameraError(f"camera {self._name}: no frame arrives on its topic", "camera_silent"))


class CameraWatch:
    """Says it on `event/{camera}`, in `info`'s `degraded`, in `health` and in `state/{camera}`.

    Args:
        cameras: those that run for ever. One that fails for good, or ends, reports itself.
    """

    def __init__(
        self,
        cameras: Mapping[str, Watched],
        topics: Topics,
        send: Callable[[Outgoing], None],
        last: LastState,
        degraded: Degraded,
        counters: Counters,
    ) -> None:
        self._cameras, self._topics, self._send = dict(cameras), topics, send
        self._lock, self._is_connected = threading.Lock(), False
        self._off: AbstractSet[str] = frozenset()
        self._last, self._degraded, self._counters = last, degraded, counters
        self._stale: set[str] = set()
        self._unsaid: set[str] = set()
        self._failed: dict[str, CameraError] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def connected(self) -> None:
        """The broker is there, and frames can come from it."""
        self._is_connected = True
        for camera in self._cameras.values():
            if isinstance(camera, PushedCamera):
                camera.connected()

    def exchange(self, cameras: Mapping[str, Watched], off: AbstractSet[str], new: AbstractSet[str]) -> None:
        """Watch over these from now on.

        Args:
            off: cameras that are switched off, or not there any more: their last verdict is of the past.
            new: cameras that were opened, or switched on, just now.
        """
        with self._lock:
            before, self._cameras = self._cameras, dict(cameras)
            for name in off | new:
                self._degraded.clear(f"camera {name}")
                self._failed.pop(name, None)
                self._stale.discard(name)
                self._unsaid.discard(name)
            for name in off - self._off:
                self._last.set_stale(name, stale=True)
            self._unsaid |= new | (self._off - off)
            self._off = frozenset(off)
            for name, camera in cameras.items():
                if isinstance(camera, PushedCamera) and before.get(name) is not camera and self._is_connected:
                    camera.connected()

    def arrived(self, name: str) -> None:
        """A frame came over MQTT."""
        camera = self._cameras.get(name)
        if isinstance(camera, PushedCamera):
            camera.arrived()

    def ended(self, camera: str) -> None:
        """A folder or file came to its end."""
        self._report("camera_ended", camera, None)

    def failed(self, camera: str, error: CameraError) -> None:
        """A folder or file cannot be read, for good."""
        log.error("%s", error)
        self._counters.add("camera_errors")
        self._failed[camera] = error
        self._degraded.set(f"camera {camera}", str(error))
        self._report("camera_failed", camera, error)
        self._stale.add(camera)
        self._unsaid.add(camera)

    def health(self) -> dict[str, WireCamera]:
        """For `health`, from any thread."""
        cameras = {name: camera.health() for name, camera in self._cameras.items()}
        cameras |= {name: CameraHealth(None, error) for name, error in dict(self._failed).items()}
        return {
            name: WireCamera(
                age_s=None if health.age_s is None else round(health.age_s, 3), error=_wire_error(health.problem)
            )
            for name, health in sorted(cameras.items())
        }

    def look(self) -> None:
        """Once at each camera: whatever is new is said. One event when it becomes stale, one when it is back."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        for name, camera in self._cameras.items():
            problem = camera.health().problem
            if problem is not None:
                self._degraded.set(f"camera {name}", str(problem))
            if (problem is not None) != (name in self._stale):
                self._turn(name, problem)
        for name in list(self._unsaid):
            if self._last.set_stale(name, stale=name in self._stale):
                self._unsaid.discard(name)

    def _turn(self, name: str, problem: CameraError | None) -> None:
        if problem is not None:
            log.warning("%s", problem)
            self._counters.add("cameras_stale")
            self._stale.add(name)
            self._report("camera_stale", name, problem)
        else:
            log.info("camera %s: gives pictures again", name)
            self._stale.discard(name)
            self._degraded.clear(f"camera {name}")
            self._report("camera_back", name, None)
        self._unsaid.add(name)

    def _report(
        self,
        kind: Literal["camera_stale", "camera_back", "camera_ended", "camera_failed"],
        camera: str,
        error: CameraError | None,
    ) -> None:
        event = Event(event_type=kind, camera=camera, error=_wire_error(error))
        self._send(Outgoing(self._topics.event(camera), event.encode(), JSON_TYPE))

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()


def _wire_error(error: CameraError | None) -> WireError | None:
    return None if error is None else WireError(code=error.code, message=str(error))
