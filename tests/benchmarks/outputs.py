"""From a part to the machine: `python -m tests.benchmarks.outputs [--parts 60] [--into BENCHMARKS.md]`.

Each second one part comes, a picture from each of two cameras, as frames of QoS 1 over Mosquitto. The default model
looks at both; their verdicts switch a coil of pymodbus's own server and a pin of gpiozero's mock board. Broker apart,
all of it is in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from lineside.devices.accelerators import cpu
from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import Config, ModelConfig
from lineside.edge.daemon import Daemon
from lineside.edge.outputs_config import On, OutputConfig
from tests.chaos.section import OUTPUTS, replace_section
from tests.conftest import PICTURES
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.plc import Plc
from tests.support.station import TOPICS, station
from tests.support.wait import until

ANY: tuple[On, ...] = ("pass", "fail", "unsure")
COILS, PINS = {"top": 0, "side": 1}, {"top": 17, "side": 27}
EVERY_S, PULSE_S, DELAY_S = 1.0, 0.01, 2.0
SETTLED_S = 600.0
ARM = 9
"""The coil of an arm that is so far down the belt as a part travels in DELAY_S."""


@dataclass(frozen=True)
class Measured:
    """Times are those of `time.monotonic()`.

    Attributes:
        sent: when each part was sent.
        edges: of each kind and camera, when its edge rose for each part.
        results: the messages of all parts.
        load: of the machine, before.
    """

    sent: list[float]
    edges: dict[tuple[str, str], list[float]]
    results: list[dict[str, Any]]
    load: float


def configured(broker: Mosquitto, folder: Path, plc: Plc) -> Config:
    """A station on which nothing is ever late, however slow the machine, but for the arm."""
    address, outputs = f"127.0.0.1:{plc.port}", dict[str, OutputConfig]()
    for camera, coil in COILS.items():
        mine = (camera,)
        outputs[f"coil_{camera}"] = OutputConfig(
            "modbus", on=ANY, cameras=mine, address=address, coil=coil, pulse_s=PULSE_S
        )
        outputs[f"pin_{camera}"] = OutputConfig("gpio", on=ANY, cameras=mine, pin=str(PINS[camera]), pulse_s=PULSE_S)
    outputs["arm"] = OutputConfig(
        "modbus", on=ANY, cameras=("top",), address=address, coil=ARM, delay_s=DELAY_S, pulse_s=PULSE_S
    )
    cameras = {camera: CameraConfig("mqtt") for camera in COILS}
    return station(broker, folder, cameras=cameras, tools={}, outputs=outputs, model=ModelConfig())


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
            until(lambda: _results(client, 1))
            cleared = time.monotonic()
            for pin in PINS.values():
                board.pin(pin).clear_states()
            sent = []
            for number in range(parts):
                time.sleep(max(cleared + number * EVERY_S - time.monotonic(), 0.0))
                sent.append(time.monotonic())
                _send(client, number + 1)
            settled = time.monotonic() + SETTLED_S
            while not _results(client, parts + 1) and time.monotonic() < settled:
                time.sleep(0.05)
            edges = {("pin", camera): _rises(board.pin(pin).states, cleared) for camera, pin in PINS.items()}
        for camera, coil in COILS.items():
            edges["coil", camera] = [at for address, on, at in plc.writes if address == coil and on][1:]
        bodies = [message.json() for camera in COILS for message in client.on(TOPICS.result(camera), parts + 1)[1:]]
        client.close()
        broker.stop()
        plc.close()
    return Measured(sent, edges, bodies, load)


def _send(client: Client, part: int) -> None:
    for offset, camera in enumerate(COILS):
        picture = PICTURES[(2 * part + offset) % len(PICTURES)].read_bytes()
        client.publish(TOPICS.frame(camera), picture, qos=1, user={"part_id": str(part)})


def _results(client: Client, parts: int) -> bool:
    topics = [TOPICS.result(camera) for camera in COILS]
    return sum(message.topic in topics for message in list(client.received)) == parts * len(COILS)


def _rises(states: list[Any], cleared: float) -> list[float]:
    """gpiozero's mock pin notes how long after the one before each state came; the first is that of `cleared`."""
    times = accumulate((state.timestamp for state in states), initial=cleared)
    return [at for at, state in list(zip(list(times)[1:], states, strict=True))[1:] if state.state]


def section(measured: Measured) -> str:
    """The table; raises ValueError where a part has no edge, or more than one."""
    lines = [
        "## From a part to the machine",
        "",
        f"{len(measured.sent)} parts, one a second, a picture of each of two cameras (frames of QoS 1, JPEG, over "
        "Mosquitto); the default model looks at both. Broker apart, station, sender and PLC (pymodbus's own server) "
        f"are one process on {cpu().name}, {os.cpu_count()} cores; load of the machine by other work over the minute "
        f"before: {measured.load:.1f}. From the sending of the part to the rising edge, in milliseconds:",
        "",
        "| | median | 99th percentile | longest |",
        "|---|---|---|---|",
    ]
    for kind, what in (("coil", "Modbus coil"), ("pin", "GPIO pin, mock")):
        first, second = (_after(measured.sent, measured.edges[kind, camera]) for camera in COILS)
        lines.append(_row(f"{what}, by each picture's own verdict", [*first, *second]))
        lines.append(_row(f"{what}, both verdicts of the part", list(map(max, first, second))))
    own, behind, did = list[float](), list[float](), Counter[str]()
    for body in measured.results:
        for name, output in body["outputs"].items():
            did[output["outcome"]] += 1
            if name.startswith("coil"):
                own.append(output["after_ms"] - body["timing_ms"]["total"])
            elif name == "arm" and output["outcome"] == "done":
                behind.append(output["after_ms"] - DELAY_S * 1e3)
    lines.append(_row("of that, from the verdict to the coil's acknowledgement", own))
    lines.append(_row(f"a coil with `delay_s = {DELAY_S:g}`: how long after that moment it is acknowledged", behind))
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(did.items()))
    return "\n".join([*lines, "", f"What the outputs did: {outcomes}. Late is the coil with a delay alone."]) + "\n"


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
    text = section(measure(options.parts))
    sys.stdout.write(text)
    if options.into is not None:
        replace_section(options.into, text, OUTPUTS)


if __name__ == "__main__":
    main()
