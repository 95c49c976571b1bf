"""Another model over MQTT: tried out beside the one that runs, taken between two frames, or refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.config import Config, ModelConfig
from lineside.edge.current_model import installed_bundle
from lineside.edge.daemon import Daemon
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.models import open_or_fall_back, there
from lineside.edge.remote_config import RemoteConfig
from lineside.edge.updates.install import models_store
from lineside.edge.updates_config import UpdatesConfig
from lineside.runtime.bundle import file_sha256, open_bundle
from tests.support.broker import Mosquitto
from tests.support.bundles import copy_bundle, edit_manifest
from tests.support.client import Client, Received
from tests.support.station import BASE, THREADS, TOPICS, station
from tests.support.wait import LIMIT_S

ALLOWED = RemoteConfig(("model",))
EVENTS = TOPICS.event("station")


@pytest.fixture
def config(broker: Mosquitto, random_bundle: Path, tmp_path: Path) -> Config:
    """A station on random weights, and below its folder a bundle `other` with the same ones."""
    copy_bundle(random_bundle, tmp_path / "other")
    edit_manifest(tmp_path / "other", lambda manifest: manifest.update(name="other"))
    model = ModelConfig(bundle=str(random_bundle), threads=THREADS)
    inspect = InspectConfig(max_age_s=3600.0)
    return station(broker, tmp_path, model=model, inspect=inspect, remote=ALLOWED, tools={})


@pytest.fixture
def daemon(config: Config) -> Iterator[Daemon]:
    with Daemon(config) as running:
        assert running.wait_online(LIMIT_S)
        yield running


def ask(client: Client, name: str, mark: str, **body: object) -> dict[str, Any]:
    """The reply; `mark` is the request's own."""
    client.publish(TOPICS.command(name), json.dumps(body), response_topic=f"clients/{mark}", correlation=mark.encode())
    return client.on(f"clients/{mark}")[0].json()


def frame(client: Client, picture: Path, part: str) -> dict[str, Any]:
    client.publish(TOPICS.frame("cam0"), picture.read_bytes(), user={"part_id": part})
    return client.wait_for(lambda m: _is_result(m, part))[0].json()


def _is_result(message: Received, part: str) -> bool:
    return message.topic == TOPICS.result("cam0") and message.json()["part_id"] == part


def event_types(client: Client, last: str) -> list[str]:
    client.wait_for(lambda m: m.topic == EVENTS and m.json()["event_type"] == last)
    return [m.json()["event_type"] for m in list(client.received) if m.topic == EVENTS]


def counted(daemon: Daemon) -> int:
    return daemon.counters.snapshot()["engine_requests"]


def test_a_model_is_installed_once_and_rolled_back(
    config: Config, daemon: Daemon, client: Client, pictures: list[Path]
) -> None:
    old, new = daemon.engine.bundle.sha256, open_bundle(config.folder / "other").sha256
    assert frame(client, pictures[0], "a")["model"]["sha256"] == old
    assert daemon.history.flush(LIMIT_S)
    reply = ask(client, "model-install", "1", source="other", sha256=new)
    assert (reply["ok"], reply["model"]["sha256"]) == (True, new), reply
    steps = ["model_verified", "model_tested", "model_compared", "model_switched"]
    assert event_types(client, "model_switched") == steps
    compared = client.wait_for(lambda m: m.topic == EVENTS and m.json()["event_type"] == "model_compared")
    assert "on 1 of 1 kept pictures" in compared[0].json()["detail"]
    before = counted(daemon)
    assert frame(client, pictures[1], "b")["model"]["sha256"] == new
    assert counted(daemon) > before
    client.wait_for(lambda m: m.topic == TOPICS.info and m.json()["model"]["sha256"] == new)

    client.publish(
        TOPICS.command("model-install"),
        json.dumps({"source": "other", "sha256": new}),
        response_topic="clients/1",
        correlation=b"1",
    )
    assert client.on("clients/1", 2)[1].json() == reply
    assert "runs already" in ask(client, "model-install", "2", source="other")["text"]
    assert event_types(client, "model_switched") == steps

    reply = ask(client, "model-rollback", "3")
    assert (reply["ok"], reply["model"]["sha256"]) == (True, old), reply
    assert frame(client, pictures[2], "c")["model"]["sha256"] == old
    assert models_store(config).current().former == new


def test_the_next_start_comes_up_with_it(config: Config, client: Client) -> None:
    new = open_bundle(config.folder / "other").sha256
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        assert ask(client, "model-install", "1", source="other")["ok"]
        budget = daemon.engine.pool.budget
        assert {entry.pool for entry in budget.entries} <= {daemon.engine.pool}
    assert installed_bundle(config.models_path, config.model.bundle) == models_store(config).bundle(new)


def test_an_installed_model_that_cannot_be_opened_gives_way(config: Config) -> None:
    fallen, models, said = open_or_fall_back(replace(config, installed=config.folder / "gone"))
    assert "cannot be opened" in said
    assert fallen.installed is None
    assert there(models.frames_engine).bundle.path == config.bundle_path
    assert open_or_fall_back(config)[2] == ""


@pytest.mark.parametrize("command", ["model-install", "model-rollback"])
def test_without_its_word_it_is_refused(broker: Mosquitto, tmp_path: Path, client: Client, command: str) -> None:
    with Daemon(station(broker, tmp_path, remote=RemoteConfig(("config", "switch")))) as daemon:
        assert daemon.wait_online(LIMIT_S)
        reply = ask(client, command, "1", source="other")
        assert reply["error"]["code"] == "not_allowed"
        assert command not in client.on(TOPICS.info)[0].json()["commands"]
    assert not (tmp_path / "lineside.models").exists()


def test_what_fails_its_self_test_or_lies_elsewhere_is_refused(
    config: Config, daemon: Daemon, client: Client, pictures: list[Path]
) -> None:
    other = config.folder / "other"
    weights = bytes(0x40 ^ byte for byte in (other / "decoder.data").read_bytes())
    (other / "decoder.data").write_bytes(weights)
    digest = file_sha256(other / "decoder.data")
    edit_manifest(other, lambda manifest: manifest["files"]["decoder.data"].update(sha256=digest))
    assert ask(client, "model-install", "1", source="other")["error"]["code"] == "self_test_failed"
    assert event_types(client, "model_refused") == ["model_verified", "model_refused"]
    assert models_store(config).installed() == []
    assert ask(client, "model-install", "2", source=config.model.bundle)["error"]["code"] == "outside"
    assert ask(client, "model-install", "3", source="nowhere")["error"]["code"] == "not_found"
    unsaid = ask(client, "model-install", "6", source="http://127.0.0.1:9/bundle")["error"]
    assert (unsaid["code"], "sha256" in unsaid["message"]) == ("unverified", True)
    assert ask(client, "model-install", "4", source="other", key_file="mine")["error"]["code"] == "malformed"
    assert ask(client, "model-rollback", "5")["error"]["code"] == "no_former"
    assert frame(client, pictures[0], "a")["model"]["sha256"] == daemon.engine.bundle.sha256


def test_one_that_differs_too_much_is_refused(
    broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path, random_bundle: Path
) -> None:
    """The default model beside random weights, on pictures in a folder."""
    copy_bundle(random_bundle, tmp_path / "other")
    (tmp_path / "kept/cam0").mkdir(parents=True)
    for picture in pictures[:2]:
        (tmp_path / "kept/cam0" / picture.name).write_bytes(picture.read_bytes())
    inspect = InspectConfig(part="ball screw", max_age_s=3600.0)
    updates = UpdatesConfig(kept_folder="kept", agreement=1.0)
    config = station(broker, tmp_path, inspect=inspect, updates=updates, remote=ALLOWED, tools={})
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        reply = ask(client, "model-install", "1", source="other")
        assert reply["error"]["code"] == "differs"
        assert "of 2 kept pictures" in reply["error"]["message"]
        assert daemon.engine.bundle.sha256 != open_bundle(random_bundle).sha256


def test_in_shadow_it_looks_at_frames_first(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    old = daemon.engine.bundle.sha256
    client.publish(
        TOPICS.command("model-install"), json.dumps({"source": "other", "shadow_frames": 2}), response_topic="clients/1"
    )
    event_types(client, "model_compared")
    seen = 0
    while len([m for m in list(client.received) if m.topic == EVENTS]) < 5:
        assert frame(client, pictures[seen % 3], str(seen))["model"]["sha256"] == old or seen >= 2
        seen += 1
    assert client.on("clients/1")[0].json()["ok"]
    assert event_types(client, "model_switched")[2:] == ["model_compared", "model_compared", "model_switched"]
    details = [m.json()["detail"] for m in client.received if m.topic == EVENTS]
    assert "on 2 of 2 frames in shadow" in details[3]
    assert daemon.pipeline.shadow is None


@pytest.mark.parametrize("switched", [False, True])
def test_a_start_after_an_installation_that_was_cut_short_says_what_runs(
    config: Config, client: Client, random_bundle: Path, switched: bool
) -> None:
    store = models_store(config)
    with store.locked():
        store.begin(open_bundle(random_bundle).sha256 if switched else "0" * 64)
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        (event,) = client.on(EVENTS)
    assert event.json()["event_type"] == ("model_switched" if switched else "model_kept")
    assert event.json()["model"]["sha256"] == open_bundle(random_bundle).sha256
    assert not store.interrupted()
    assert BASE in event.topic
