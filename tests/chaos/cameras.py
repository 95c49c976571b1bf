"""A network camera that hangs, hangs up or refuses: said, and back again, and no old picture with a new time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.chaos.rig import RECOVERY_LIMIT_S, Rig
from tests.chaos.station import TOPICS
from tests.chaos.traffic import client
from tests.support.mjpeg import MjpegCamera, numbered

EVERY_S = 0.1
OLDEST_S = 3.0


class CameraListener:
    """Counts what the station says of the camera `live`."""

    def __init__(self, port: int) -> None:
        self.results = self.late = 0
        self.events: list[str] = []
        self._condition = threading.Condition()
        self._client = client("camera-listener", port)
        self._client.on_connect = lambda c, *_: c.subscribe([(TOPICS.result("live"), 1), (TOPICS.event("live"), 1)])
        self._client.on_message = self._take
        self._client.loop_start()

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        with self._condition:
            assert self._condition.wait_for(holds, RECOVERY_LIMIT_S), f"{what}; events: {self.events}"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None

    def _take(self, _client: Any, _data: Any, message: Any) -> None:

        body = json.loads(message.payload)
        with self._condition:
            if message.topic == TOPICS.result("live"):
                self.results += 1
                age = datetime.fromisoformat(body["ts"]) - datetime.fromisoformat(body["captured_at"])
                self.late += age.total_seconds() > OLDEST_S
            else:
                self.events.append(body["event_type"])
            self._condition.notify_all()


class Filming:
    """Sends a picture every tenth of a second, unless it hangs."""

    def __init__(self, camera: MjpegCamera) -> None:
        self.camera = camera
        self.hangs = threading.Event()
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="filming", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self.camera.close()

    def _run(self) -> None:
        pictures = [numbered(number) for number in range(50)]
        while not self._stop.wait(EVERY_S):
            if self.hangs.is_set():
                continue
            try:
                self.camera.send(pictures[self.sent % len(pictures)])
                self.sent += 1
            except (OSError, AssertionError):
                self.camera.hang_up()


def hang_cameras(rig: Rig, count: int, filming: Filming) -> None:
    """It says nothing more, or hangs up, or both and refuses everybody for a while."""
    listener = CameraListener(rig.broker.port)
    try:
        listener.wait_for(lambda: listener.results > 3, "the camera gives no results")
        for _ in range(count):
            stale, back = (listener.events.count(f"camera_{kind}") for kind in ("stale", "back"))
            filming.hangs.set()
            if (how := rig.rng.choice(("hangs", "hangs up", "refuses"))) != "hangs":
                filming.camera.refuses = 401 if how == "refuses" else 0
                filming.camera.hang_up()
            listener.wait_for(lambda stale=stale: listener.events.count("camera_stale") > stale, "not stale")  # type: ignore[misc]
            rig.pause(3.0)
            filming.camera.refuses = 0
            filming.hangs.clear()
            ended, seen = time.monotonic(), listener.results
            listener.wait_for(lambda back=back: listener.events.count("camera_back") > back, "not back")  # type: ignore[misc]
            listener.wait_for(lambda seen=seen: listener.results > seen, "no results")  # type: ignore[misc]
            rig.row.injected += 1
            rig.row.recovery_s.append(round(time.monotonic() - ended, 3))
        rig.row.note = f"{listener.results} results of {filming.sent} pictures"
        if listener.late:
            rig.row.faults.append(f"{listener.late} results of pictures that were older than {OLDEST_S:g} s")
    finally:
        listener.close()
