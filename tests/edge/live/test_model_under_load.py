"""A model is installed while frames come with QoS 1, and the process is killed on the way: no frame is lost."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np

from lineside.edge.inspection.evidence import encode_jpeg
from lineside.runtime.bundle import open_bundle
from tests.support.broker import Mosquitto
from tests.support.bundles import copy_bundle, edit_manifest
from tests.support.client import Client, Received
from tests.support.station import LINESIDE

BASE = "lineside/press4"
OUTSTANDING = 12
"""Frames that wait for a result at most, while there is a station and while there is none."""
FILE = """
[station]
name = "press4"
[mqtt]
host = "127.0.0.1"
port = {port}
[model]
bundle = "{bundle}"
threads = 1
[inspect]
max_age_s = 3600.0
[remote]
allow = ["model"]
[updates]
kept_frames = 3
[cameras.cam0]
kind = "mqtt"
"""


class Frames:
    """Sends one after the other, each of a part of its own, until it is stopped."""

    def __init__(self, broker: Mosquitto) -> None:
        self.sent: list[str] = []
        self._client = Client(broker, f"{BASE}/result/cam0")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        rng = np.random.default_rng(0)
        while not self._stopped.is_set():
            answered = {message.json()["part_id"] for message in list(self._client.received)}
            if len(self.sent) - len(answered) >= OUTSTANDING:
                self._stopped.wait(0.01)
                continue
            picture = encode_jpeg(rng.integers(0, 255, (56, 56, 3), np.uint8))
            self.sent.append(f"part-{len(self.sent)}")
            self._client.publish(f"{BASE}/frame/cam0", picture, user={"part_id": self.sent[-1]})

    def stop(self) -> list[str]:
        self._stopped.set()
        self._thread.join()
        self._client.close()
        return self.sent


def start(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*LINESIDE, "run", "-c", str(file)], stderr=subprocess.DEVNULL)


def events(client: Client, event_type: str) -> list[Received]:
    return [
        message
        for message in list(client.received)
        if message.topic == f"{BASE}/event/station" and message.json()["event_type"] == event_type
    ]


def wait_for_event(client: Client, event_type: str, count: int) -> None:
    client.wait_for(lambda m: m.topic == f"{BASE}/event/station" and m.json()["event_type"] == event_type, count)


def test_no_frame_is_lost_though_it_is_killed_twice(
    broker: Mosquitto, client: Client, random_bundle: Path, tmp_path: Path
) -> None:
    new = copy_bundle(random_bundle, tmp_path / "new")
    edit_manifest(new, lambda manifest: manifest.update(name="new"))
    models = [open_bundle(random_bundle).sha256, open_bundle(new).sha256]
    file = tmp_path / "station.toml"
    file.write_text(FILE.format(port=broker.port, bundle=random_bundle))
    process = start(file)
    client.wait_for(lambda m: m.topic == f"{BASE}/status" and m.payload == b"online")
    frames = Frames(broker)
    try:
        client.wait_for(lambda m: m.topic == f"{BASE}/result/cam0", OUTSTANDING)
        client.publish(
            f"{BASE}/cmd/model-install",
            json.dumps({"source": "new", "shadow_frames": 3}),
            response_topic="clients/me",
            correlation=b"1",
            expiry_s=3600,
        )
        for reached in ("model_tested", "model_switched"):
            wait_for_event(client, reached, len(events(client, reached)) + 1)
            process.kill()
            process.wait()
            process = start(file)
        reply = client.on("clients/me")[0].json()
        assert (reply["ok"], reply["model"]["sha256"]) == (True, models[1]), reply
        sent = frames.stop()
        results = answers(client, sent)
    finally:
        frames.stop()
        process.kill()
        process.wait()
    assert {part: len(each) for part, each in results.items()} == dict.fromkeys(sent, 1)
    assert not [message for message in client.received if message.topic == f"{BASE}/event/cam0"]
    by_model = [next(iter(results[part].values())) for part in sent]
    assert by_model == sorted(by_model, key=models.index)
    assert set(by_model) == set(models)
    assert {message.json()["id"] for message in client.received if message.topic == "clients/me"} == {reply["id"]}


def answers(client: Client, sent: list[str]) -> dict[str, dict[str, str]]:
    """By part the ids of its results, each with the model that it is of; every part has one by then."""
    found: dict[str, dict[str, str]] = defaultdict(dict)

    def complete(message: Received) -> bool:
        if message.topic == f"{BASE}/result/cam0":
            body = message.json()
            found[body["part_id"]].setdefault(body["id"], body["model"]["sha256"])
        return len(found) == len(sent)

    client.wait_for(complete)
    return found
