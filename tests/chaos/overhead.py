"""What the daemon adds to a frame, from broker to broker, without the model and without decoding."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.chaos.brokers import MOSQUITTO, open_broker
from tests.chaos.station import TOPICS, Station
from tests.chaos.wires import Wire, frame_packet
from tests.support.client import Client

FRAMES_PER_S, FRAME_BYTES = 30, 200_000
WIDTH, HEIGHT = 1280, 960
WARM_UP = 60


@dataclass(frozen=True)
class Overhead:
    """Milliseconds from the first byte of a frame that is sent to the last one of its result.

    Attributes:
        hop_ms: median of the same frame through the broker and back, with no station: included in the others.
        load: of the machine before, over a minute: how much else was running.
    """

    frames: int
    answered: int
    median_ms: float
    p99_ms: float
    hop_ms: float
    load: float


def picture() -> bytes:
    """A JPEG of the largest quality that fits into `FRAME_BYTES`, and what it lacks behind its end."""
    noise = np.random.default_rng(0).normal(128, 20, (HEIGHT // 4, WIDTH // 4, 3))
    pixels = cv2.resize(noise.clip(0, 255).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    made = [cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for quality in range(5, 95)]
    return max((data for data in made if len(data) <= FRAME_BYTES), key=len).ljust(FRAME_BYTES, b"\x00")


def measure_overhead(seconds: float) -> Overhead:
    load = os.getloadavg()[0]
    frames = int(seconds * FRAMES_PER_S)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        broker = open_broker(MOSQUITTO, folder)
        stack.callback(broker.stop)
        hop = play(broker.port, TOPICS.frame("cam0"), 5 * FRAMES_PER_S)
        station = Station(folder, broker.port, decodes=False)
        watching = Client(broker.port, TOPICS.status)
        stack.callback(watching.close)
        station.start()
        stack.callback(station.kill)
        watching.wait_for(lambda message: message.payload == b"online")
        times = play(broker.port, TOPICS.result("cam0"), frames + WARM_UP)[WARM_UP:]
    times.sort()
    return Overhead(
        frames,
        len(times),
        round(statistics.median(times), 2),
        round(times[int(len(times) * 0.99)], 2),
        round(statistics.median(hop), 2),
        round(load, 1),
    )


def play(port: int, topic: str, frames: int) -> list[float]:
    """Send so many frames, and take what comes back on `topic`: milliseconds of each, in their order."""
    wire, data = Wire(port, topic), picture()
    sent: dict[str, float] = {}
    taken: list[float] = []
    start = time.perf_counter() + 0.1
    for number in range(frames):
        due = start + number / FRAMES_PER_S
        for now, message in wire.arrived(due):
            part = json.loads(message.payload)["part_id"] if message.payload[:1] == b"{" else next(iter(sent))
            taken.append((now - sent.pop(part)) * 1e3)
        sent[str(number)] = wire.send(frame_packet(TOPICS.frame("cam0"), str(number), data))
    wire.close()
    return taken


if __name__ == "__main__":
    print(measure_overhead(20.0))  # noqa: T201
