"""From a trigger to the machine: `python -m tests.benchmarks.outputs [--parts 60] [--into BENCHMARKS.md]`.

Each second a trigger and a picture from each of two cameras come over Mosquitto. What looks at both is the default
model, and then the mean brightness in its place: what is left are the daemon's own ways. The verdict switches a coil of
pymodbus's own server and a pin of gpiozero's mock board. Broker apart, all of it is in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from lineside.devices.accelerators import cpu
from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config, ModelConfig
from lineside.edge.daemon import Daemon
from lineside.edge.outputs_config import On, OutputConfig
from lineside.edge.triggers_config import TriggerConfig
from tests.chaos.section import OUTPUTS, replace_section
from tests.conftest import PICTURES
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.plc import Plc
from tests.support.shades import look_at_brightness
from tests.support.station import TOPICS, station

ANY: tuple[On, ...] = ("pass", "fail", "unsure")
CAMERAS, EYE, COIL, ARM, PIN = ("top", "side"), "eye", 0, 1, 17
EVERY_S, PULSE_S, DELAY_S, SETTLED_S = 1.0, 0.01, 2.0, 600.0
"""The arm is so far down the belt as a part travels in DELAY_S."""


@dataclass(frozen=True)
class Measured:
    """Times are those of `time.monotonic()`.

    Attributes:
        sent: when each trigger was sent.
        edges: by `coil` and `pin`, when it rose for each part.
        results: the messages of all parts.
        load: of the machine, before.
    """

    sent: list[float]
    edges: dict[str, list[float]]
    results: list[dict[str, Any]]
    load: float


def configured(broker: Mosquitto, folder: Path, plc: Plc) -> Config:
    """A station on which nothing is ever late, however slow the machine, but for the arm."""
    address = f"127.0.0.1:{plc.port}"
    coil = OutputConfig("modbus", on=ANY, address=address, coil=COIL, pulse_s=PULSE_S)
    outputs = {
        "coil": coil,
        "arm": replace(coil, coil=ARM, delay_s=DELAY_S),
        "pin": OutputConfig("gpio", on=ANY, pin=str(PIN), pulse_s=PULSE_S),
    }
    cameras = {camera: CameraConfig("mqtt") for camera in CAMERAS}
    triggers = {EYE: TriggerConfig("mqtt", CAMERAS, wait_s=SETTLED_S)}
    model = ModelConfig()
    return station(broker, folder, cameras=cameras, triggers=triggers, tools={}, outputs=outputs, model=model)


def measure(parts: int) -> Measured:
    """Send so many parts, one a second; before that one more, which does not count."""
    Device.pin_factory = board = MockFactory()
    with tempfile.TemporaryDirectory(prefix="outputs-") as name:
        plc, load = Plc(), os.getloadavg()[0]
        broker = Mosquitto(Path(name))
        client = Client(broker, "#")
        with Daemon(configured(broker, Path(name), plc)) as daemon:
            assert daemon.wait_online(60)
            _send(client, 0)
            client.on(TOPICS.result(EYE), 1)
            cleared = time.monotonic()
            board.pin(PIN).clear_states()
            sent = []
            for number in range(parts):
                time.sleep(max(cleared + number * EVERY_S - time.monotonic(), 0.0))
                sent.append(time.monotonic())
                _send(client, number + 1)
            settled = time.monotonic() + SETTLED_S
            while _results(client) < parts + 1 and time.monotonic() < settled:
                time.sleep(0.05)
            pin = _rises(board.pin(PIN).states, cleared)
        coil = [at for address, on, at in plc.writes if address == COIL and on][1:]
        bodies = [message.json() for message in client.on(TOPICS.result(EYE), parts + 1)[1:]]
        client.close()
        broker.stop()
        plc.close()
    return Measured(sent, {"coil": coil, "pin": pin}, bodies, load)


def _send(client: Client, part: int) -> None:
    client.publish(f"{TOPICS.base}/trigger/{EYE}", f'{{"part_id": "{part}"}}', qos=1)
    for offset, camera in enumerate(CAMERAS):
        picture = PICTURES[(2 * part + offset) % len(PICTURES)].read_bytes()
        client.publish(TOPICS.frame(camera), picture, qos=1, user={"part_id": str(part)})


def _results(client: Client) -> int:
    return sum(message.topic == TOPICS.result(EYE) for message in list(client.received))


def _rises(states: list[Any], cleared: float) -> list[float]:
    """gpiozero's mock pin notes how long after the one before each state came; the first is that of `cleared`."""
    times = accumulate((state.timestamp for state in states), initial=cleared)
    return [at for at, state in list(zip(list(times)[1:], states, strict=True))[1:] if state.state]


def section(model: Measured, brightness: Measured) -> str:
    """The table; raises ValueError where a part has no edge, or more than one."""
    lines = [
        "## From a trigger to the machine",
        "",
        f"{len(model.sent)} parts, one a second: a trigger, and a picture from each of two cameras (JPEG, frames of "
        "QoS 1, over Mosquitto), one verdict. The default model looks at both; or the mean brightness does, in no "
        "time, so that what is left is the daemon's own. Broker apart, station, sender and PLC (pymodbus's "
        "own server) are one "
        f"process on {cpu().name}, {os.cpu_count()} cores; load of the machine over the minute before, by other work, "
        f"{model.load:.1f} and {brightness.load:.1f}. With more load than cores the model falls behind, and parts "
        "wait for one another. Milliseconds:",
        "",
        "| | median | 99th percentile | longest |",
        "|---|---|---|---|",
    ]
    for what, measured in (("the model", model), ("brightness", brightness)):
        own, behind = list[float](), list[float]()
        for body in measured.results:
            coil, arm = body["outputs"]["coil"], body["outputs"]["arm"]
            own.append(coil["after_ms"] - body["timing_ms"]["total"])
            if arm["outcome"] == "done":
                behind.append(arm["after_ms"] - DELAY_S * 1e3)
        for kind, name in (("coil", "edge of a Modbus coil"), ("pin", "edge of a GPIO pin, mock")):
            lines.append(_row(f"{what}: trigger to the {name}", _after(measured.sent, measured.edges[kind])))
        lines.append(_row(f"{what}: verdict to the coil's acknowledgement", own))
        name = f"{what}: a coil with `delay_s = {DELAY_S:g}`, acknowledged behind its moment ({len(behind)} in time)"
        lines.append(_row(name, behind))
    return "\n".join(lines) + "\n"


def _after(sent: list[float], edges: list[float]) -> list[float]:
    return [(edge - start) * 1e3 for start, edge in zip(sent, edges, strict=True)]


def _row(name: str, values_ms: list[float]) -> str:
    if len(values_ms) < 2:
        return f"| {name} | not measured | | |"
    last = statistics.quantiles(values_ms, n=100, method="inclusive")[98]
    return f"| {name} | {statistics.median(values_ms):.1f} | {last:.1f} | {max(values_ms):.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure outputs.")
    parser.add_argument("--parts", type=int, default=60, help="how many, one a second")
    parser.add_argument("--into", type=Path, help="a report whose section is replaced")
    options = parser.parse_args()
    model = measure(options.parts)
    with pytest.MonkeyPatch.context() as patch:
        look_at_brightness(patch)
        brightness = measure(options.parts)
    text = section(model, brightness)
    sys.stdout.write(text)
    if options.into is not None:
        replace_section(options.into, text, OUTPUTS)


if __name__ == "__main__":
    main()
