"""A station for half an hour, with the real model: four cameras, commands, and a link that is cut now and then."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.results import ROOT
from tests.chaos.cameras import Filming
from tests.chaos.rig import Rig, Row, rig
from tests.chaos.station import TOPICS
from tests.chaos.traffic import PICTURE, client
from tests.support.mjpeg import MjpegCamera

CAMERAS = """
[cameras.cam0]
kind = "mqtt"

[cameras.stream]
kind = "mqtt"

[cameras.folder]
kind = "folder"
source = "{folder}"
interval_s = 1.0
loop = true

[cameras.live]
kind = "video"
source = "{address}"
interval_s = 0.5
"""
NAMES = ("cam0", "stream", "folder", "live")
MINUTE_S = 60.0
STREAM_EVERY_S = 0.5


@dataclass(frozen=True)
class Soak:
    """Attributes:
    results: by camera.
    quietest: the fewest results of any camera in any minute.
    first_mb, last_mb: resident memory of the daemon after the first minute and at the end.
    """

    minutes: float
    results: dict[str, int]
    quietest: int
    first_mb: float
    last_mb: float
    row: Row


class Counting:
    """Results by camera, as a client of the broker sees them; sends the stream, too."""

    def __init__(self, port: int) -> None:
        self.results: Counter[str] = Counter()
        self._stop = threading.Event()
        self._client = client("counting", port)
        self._client.on_connect = lambda c, *_: c.subscribe(TOPICS.result("+"), 1)
        self._client.on_message = self._take
        self._client.loop_start()
        self._thread = threading.Thread(target=self._stream, name="stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        self.results[message.topic.rpartition("/")[2]] += 1

    def _stream(self) -> None:
        while not self._stop.wait(STREAM_EVERY_S):
            self._client.publish(TOPICS.frame("stream"), PICTURE, qos=0)


def soak(row: Row, minutes: float) -> Soak:
    """Raises AssertionError where the station does not come back."""
    with ExitStack() as stack:
        camera = MjpegCamera()
        filming = Filming(camera)
        stack.callback(filming.close)
        cameras = CAMERAS.format(folder=ROOT / "deploy/stations/ballscrew/pictures", address=camera.address)
        running = stack.enter_context(
            rig(row, cameras=cameras, real_model=True, kinds=("frame", "frame", "frame", "note"), most_open=4)
        )
        counting = Counting(running.broker.port)
        stack.callback(counting.close)
        return _play(running, counting, minutes)


def _play(running: Rig, counting: Counting, minutes: float) -> Soak:
    end, first_mb, quietest, before = time.monotonic() + minutes * 60, 0.0, 1 << 30, Counter[str]()
    started = time.monotonic()
    while time.monotonic() < end:
        minute = min(time.monotonic() + MINUTE_S, end)
        time.sleep(running.rng.uniform(0.2, 0.8) * max(minute - time.monotonic(), 0.0))
        running.proxy.cut()
        running.recovered()
        time.sleep(max(minute - time.monotonic(), 0.0))
        seen = Counter(counting.results)
        quietest = min(quietest, *(seen[name] - before[name] for name in NAMES))
        before, first_mb = seen, first_mb or running.station.resident_mb()
    return Soak(
        round((time.monotonic() - started) / 60, 1),
        {name: counting.results[name] for name in NAMES},
        quietest,
        round(first_mb, 1),
        round(running.station.resident_mb(), 1),
        running.row,
    )
