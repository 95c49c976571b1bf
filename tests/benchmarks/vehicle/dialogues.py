"""Short dialogues with `deploy/stations/car`: "it's stuffy in here", "a bit more", "stop that".

`python -m tests.benchmarks.vehicle.dialogues`. The station's phrases, its policy and the default model answer; a car
does what it is told, and says so on its topics. The dialogues in `dialogues.jsonl` were written before they were put to
it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from lineside.edge.calls.calls import Calls
from lineside.edge.commands.conversation import Conversation
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import RequestError
from lineside.edge.models import open_for_commands
from lineside.edge.station_file import load_config
from lineside.edge.steady import unix_time
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store, StoredCommand
from lineside.edge.wire.topics import Topics
from tests.edge.calls.test_bindings import FakeConnection

HERE = Path(__file__).parent
CAR = HERE.parents[2] / "deploy" / "stations" / "car" / "station.toml"
DONE = ("issued", "accepted", "achieved")


class Car(FakeConnection):
    """A car that does what it is told, and says so."""

    def __init__(self, config: Config, folder: Path) -> None:
        super().__init__()
        self.config, self.speed = config, 0.0
        counters, degraded = Counters(), Degraded()
        store = Store(folder / f"{uuid.uuid4().hex}.db", 1000, 3600, degraded)
        connection = cast(Connection, self)
        outbox = Outbox(store, connection, counters, degraded)
        self.calls = Calls(config, Topics(config.base_topic), store, outbox, connection, counters, degraded=degraded)
        self.conversation = Conversation(config, open_for_commands(config), self.calls, lambda _: None, lambda: False)

    def publish(self, topic: str, payload: bytes, **options: Any) -> None:
        super().publish(topic, payload, **options)
        self.says(topic.removeprefix(f"{self.config.vss.publish}/"), payload)

    def says(self, path: str, payload: bytes) -> None:
        self.calls.states.take(f"{self.config.vss.states}/{path}", payload, retained=False)

    def asked(self, text: str, who: str) -> list[CallReport]:
        """The calls that a sentence leads to and that were carried out."""
        self.says("Speed", json.dumps(self.speed).encode())
        body, topic = json.dumps({"text": text}).encode(), f"clients/{who}"
        command = StoredCommand("ask", body, topic, None, unix_time() + 600, uuid.uuid4().hex)
        try:
            reply = self.conversation.answer(command, lambda: None)
        except RequestError:
            return []
        return [report for report in reply.calls if report.outcome in DONE]


def verdict(right: Any, done: list[CallReport], tools: Config, before: float | None) -> str:
    """`right`, `refused` or `acted wrongly`. A list of names takes any call of one of them; "less" any that is less."""
    if not done:
        return "right" if right is None else "refused"
    report = done[0]
    if right is None or len(done) > 1:
        return "acted wrongly" if any(tools.tools[each.name].acts for each in done) else "refused"
    if isinstance(right, list):
        return "right" if report.name in right else "acted wrongly"
    wanted = right.get(report.name)
    if wanted == "less":
        return "right" if before is not None and report.arguments["value"] < before else "acted wrongly"
    if wanted == report.arguments:
        return "right"
    return "acted wrongly" if tools.tools[report.name].acts else "refused"


def main() -> None:
    """Prints every turn that was not right, and the shares."""
    counted: dict[str, Counter[str]] = {}
    config = load_config(CAR, {})
    started, turns = time.perf_counter(), 0
    with TemporaryDirectory() as folder:
        car = Car(config, Path(folder))
        for number, line in enumerate((HERE / "dialogues.jsonl").read_text(encoding="utf-8").splitlines()):
            dialogue, last = json.loads(line), None
            car.speed = 0.0
            for turn in dialogue["turns"]:
                if "speed" in turn:
                    car.speed = turn["speed"]
                    continue
                done, turns = car.asked(turn["say"], str(number)), turns + 1
                said = verdict(turn["right"], done, config, last)
                last = done[0].arguments.get("value") if done else last
                for group in (dialogue["language"], "all"):
                    counted.setdefault(group, Counter())[said] += 1
                if said != "right":
                    told = [(each.name, each.arguments) for each in done]
                    print(f"{dialogue['language']}: {turn['say']}: {said} {told or ''}")  # noqa: T201
        car.calls.close()
        car.calls.close_audit()
    for group, found in counted.items():
        print(group, sum(found.values()), dict(found))  # noqa: T201
    print(f"{turns} turns in {time.perf_counter() - started:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
