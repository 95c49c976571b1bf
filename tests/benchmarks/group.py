"""A group of 1, 4 and 16 stations on one Mosquitto: `python -m tests.benchmarks.group [--into BENCHMARKS.md]`.

Each is a whole daemon with its own database and history. The model is left out: a picture takes `COST_S`, in which the
processor has nothing to do, as if each station had a GPU of its own. So the figures are those of the broker, of the
daemons' own work, and of sixteen daemons that share this machine.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.inspection.evidence import encode_jpeg
from tests.chaos.section import GROUP as SECTION
from tests.chaos.section import replace_section
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.member import GROUP, Member

SIZES = (1, 4, 16)
COST_S = 0.1
FULL_S, PACED_S, LOAD = 6.0, 15.0, 0.6
"""How long a group is kept busy; how long frames come at a steady pace, and that pace as a part of what it takes."""
WILL_S = 5
SETTLED_S = 120.0
NUMBERS = itertools.count()
PICTURE = encode_jpeg(np.full((96, 128, 3), 128, np.uint8))


@dataclass(frozen=True)
class Waits:
    """Of frames at a steady pace: how long they waited for their results, in seconds, and how many had none, or two."""

    frames: int
    median_s: float
    longest_s: float
    lost: int
    twice: int


@dataclass(frozen=True)
class Row:
    """One group.

    Attributes:
        load: of the machine, the average over a minute, before.
        per_s: results a second, with as many frames as it takes.
        calm: at a steady pace.
        dead: the same where one is killed in the middle; None where there is no other.
    """

    members: int
    load: float
    per_s: float
    calm: Waits
    dead: Waits | None


class Results:
    """When each frame was sent, and each of its results came."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sent: dict[str, float] = {}
        self._came: dict[str, list[float]] = {}
        self._condition = threading.Condition()
        client._client.on_message = self._take

    def send(self) -> None:
        part = str(next(NUMBERS))
        self._sent[part] = time.monotonic()
        attached = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        attached.UserProperty = [("part_id", part)]
        self._client._client.publish(GROUP.frame("cam0"), PICTURE, qos=1, properties=attached)

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        if not message.topic.endswith("/result/cam0"):
            self._client._handle(_client, _data, message)
            return
        part = message.payload.partition(b'"part_id": "')[2].partition(b'"')[0].decode()
        with self._condition:
            self._came.setdefault(part, []).append(time.monotonic())
            self._condition.notify_all()

    def settle(self) -> float:
        """Wait until each frame has a result, or none comes for long. Returns when the last came."""
        with self._condition:
            deadline = time.monotonic() + SETTLED_S
            while len(self._came) < len(self._sent) and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)
            return max((times[-1] for times in self._came.values()), default=0.0)

    def waits(self) -> Waits:
        waited = [times[0] - self._sent[part] for part, times in self._came.items()]
        lost, twice = len(self._sent) - len(self._came), sum(len(times) > 1 for times in self._came.values())
        return Waits(len(self._sent), statistics.median(waited), max(waited), lost, twice)


def measure(size: int) -> Row:
    """Start a group, keep it busy, send at a steady pace, and then once more with a death in the middle."""
    with tempfile.TemporaryDirectory(prefix="group-") as name:
        folder = Path(name)
        broker = Mosquitto(folder)
        client = Client(broker, "lineside/#")
        members = [Member(folder, broker.port, f"m{number:02}", COST_S, WILL_S) for number in range(size)]
        try:
            for member in members:
                topic = member.topics.status
                while not [m for m in client.received if (m.topic, m.payload) == (topic, b"online")]:
                    time.sleep(0.05)
            load = os.getloadavg()[0]
            per_s = _busy(client, size)
            pace_s = 1 / (LOAD * per_s)
            calm = _paced(client, pace_s, None)
            dead = _paced(client, pace_s, members[0]) if size > 1 else None
        finally:
            for member in members:
                member.kill()
            client.close()
            broker.stop()
    return Row(size, load, per_s, calm, dead)


def _busy(client: Client, size: int) -> float:
    results, began = Results(client), time.monotonic()
    for _ in range(int(FULL_S * size / COST_S)):
        results.send()
    ended = results.settle()
    return results.waits().frames / (ended - began)


def _paced(client: Client, pace_s: float, victim: Member | None) -> Waits:
    results, began = Results(client), time.monotonic()
    for number in range(int(PACED_S / pace_s)):
        time.sleep(max(began + number * pace_s - time.monotonic(), 0.0))
        results.send()
        if victim is not None and number * pace_s > PACED_S / 3:
            victim.kill()
            victim = None
    results.settle()
    return results.waits()


def section(rows: list[Row]) -> str:
    lines = [
        "## A group of stations",
        "",
        f"Whole daemons on one machine with {os.cpu_count()} cores and one Mosquitto; instead of the model's work each "
        f"picture takes {COST_S * 1e3:g} ms without work for the processor, so that a station alone gives at most "
        f"{1 / COST_S:g} results a second. The load is the machine's average over the minute before, with everything "
        f"else that ran there, the start of the daemons too. At a steady pace frames come at {LOAD:.0%} of what the "
        f"group takes; one member is killed after a third of {PACED_S:g} s, and the broker says so {WILL_S} s later "
        "([many stations](docs/many-stations.md)).",
        "",
        "| members | load | results/s | wait, median | longest | one is killed: median | longest | lost | twice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        calm, dead = row.calm, row.dead
        cells = [
            row.members,
            f"{row.load:.1f}",
            f"{row.per_s:.1f}",
            f"{calm.median_s:.2f} s",
            f"{calm.longest_s:.2f} s",
        ]
        if dead is None:
            cells += ["", "", f"{calm.lost} of {calm.frames}", calm.twice]
        else:
            lost = f"{calm.lost + dead.lost} of {calm.frames + dead.frames}"
            cells += [f"{dead.median_s:.2f} s", f"{dead.longest_s:.2f} s", lost, calm.twice + dead.twice]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure groups of stations.")
    parser.add_argument("--into", type=Path, help="a report whose section is replaced")
    options = parser.parse_args()
    rows = []
    for size in SIZES:
        rows.append(measure(size))
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    if options.into is not None:
        replace_section(options.into, section(rows), SECTION)


if __name__ == "__main__":
    main()
