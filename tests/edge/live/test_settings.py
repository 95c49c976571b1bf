"""Settings and switches over MQTT: refused unless the station file allows them, and never more than it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.command_line.main import main
from lineside.edge.daemon import Daemon
from lineside.edge.station_file import load_config
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.wait import LIMIT_S

BASE = "lineside/press4"
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
pass_below = 0.35
[remote]
allow = {allow}
[cameras.cam0]
kind = "mqtt"
[tools.stop_line]
description = "Stop the line."
allowed = false
"""


@pytest.fixture
def file(tmp_path: Path, broker: Mosquitto, random_bundle: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(FILE.format(port=broker.port, bundle=random_bundle, allow='["config", "switch"]'))
    return path


@pytest.fixture
def daemon(file: Path) -> Iterator[Daemon]:
    with Daemon(load_config(file)) as running:
        assert running.wait_online(LIMIT_S)
        yield running


class Requester:
    def __init__(self, client: Client) -> None:
        self._client, self._count = client, 0

    def send(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply."""
        self._count += 1
        topic = f"clients/{self._count}"
        self._client.publish(f"{BASE}/cmd/{name}", json.dumps(body), response_topic=topic, correlation=topic.encode())
        return self._client.on(topic)[0].json()

    def refused(self, name: str, body: dict[str, Any]) -> str:
        reply = self.send(name, body)
        assert not reply["ok"], reply
        return str(reply["error"]["code"])


@pytest.fixture
def requester(client: Client) -> Requester:
    return Requester(client)


def test_settings_are_taken_kept_and_taken_back(
    file: Path, daemon: Daemon, client: Client, requester: Requester, capsys: pytest.CaptureFixture[str]
) -> None:
    before, text = daemon.pipeline.look, file.read_text()
    sent = {"inspect.pass_below": 0.2, "cameras.cam0.part": "valve"}
    assert requester.send("config", {"set": sent})["ok"]
    assert daemon.pipeline.look is not before
    assert daemon.config.inspect.pass_below == 0.2
    assert load_config(file).cameras["cam0"].part == "valve"
    assert file.read_text() == text
    client.wait_for(lambda m: m.topic == f"{BASE}/info" and m.json()["remote"]["changed"] == sent)
    assert main(["check", str(file)]) == 0
    assert "changed from outside: inspect.pass_below = 0.2" in capsys.readouterr().out
    daemon.reloader.reload()
    assert daemon.config.inspect.pass_below == 0.2

    assert requester.send("config", {"set": {"inspect.pass_below": None}})["ok"]
    assert (daemon.config.inspect.pass_below, daemon.config.cameras["cam0"].part) == (0.35, "valve")
    file.write_text(text.replace('"config", ', ""))
    assert load_config(file).cameras["cam0"].part == ""


def test_a_camera_and_its_inspection_are_switched(
    daemon: Daemon, client: Client, requester: Requester, pictures: list[Path]
) -> None:
    for count, what in enumerate(("camera", "inspection"), start=1):
        assert requester.send("switch", {"camera": "cam0", "what": what, "on": False})["ok"]
        assert not daemon.switches.inspected("cam0")
        client.publish(f"{BASE}/frame/cam0", pictures[0].read_bytes(), user={"part_id": what})
        rejected = client.on(f"{BASE}/event/cam0", count)[-1].json()
        assert (rejected["error"]["code"], rejected["part_id"]) == ("switched_off", what)
        assert requester.send("switch", {"camera": "cam0", "what": what, "on": True})["ok"]
        assert daemon.switches.inspected("cam0")
    assert requester.refused("switch", {"camera": "cam9", "on": False}) == "unknown_camera"


NOT_FROM_OUTSIDE = (
    "tools.stop_line.allowed",
    "tools.other",
    "tools.stop_line.limits",
    "remote.allow",
    "mcp.files",
    "mqtt.host",
    "mqtt.response_prefixes",
    "updates.key_file",
    "store.path",
    "model.bundle",
    "commands.call_above",
    "commands.phrase_files",
    "station.timezone",
    "audit.folder",
    "http.port",
    "inspect.evidence_folder",
    "inspect.max_pixels",
    "cameras.cam0.source",
    "cameras.cam0.enabled",
    "cameras.cam1.part",
    "cameras",
    "inspect",
    "file",
    "changed",
    "",
    "inspect.pass_below.x",
    "__class__",
)


def test_nothing_else_is_changed(file: Path, daemon: Daemon, requester: Requester) -> None:
    before = daemon.config
    for key in NOT_FROM_OUTSIDE:
        code = requester.refused("config", {"set": {"inspect.pass_below": 0.1, key: {"allowed": True}}})
        assert code == "not_from_outside", key
    assert daemon.config is before
    assert not load_config(file).changes_path.exists()


def test_what_is_wrong_is_refused_whole(file: Path, daemon: Daemon, client: Client, requester: Requester) -> None:
    before = daemon.config
    assert requester.refused("config", {"set": {"inspect.part": "valve", "inspect.pass_below": 2}}) == "station_refused"
    assert requester.refused("config", {"set": {"inspect.pass_below": [1]}}) == "station_refused"
    assert requester.refused("config", {"set": {}}) == "malformed"
    assert requester.refused("config", {"text": "x"}) == "malformed"
    event = client.on(f"{BASE}/event/station")[0].json()
    assert event["event_type"] == "station_refused"
    assert "inspect.pass_below" in event["error"]["message"]
    assert daemon.config is before
    assert not load_config(file).changes_path.exists()


def test_a_tool_that_was_added_to_the_file_is_not_taken_up_from_outside(
    file: Path, daemon: Daemon, requester: Requester
) -> None:
    file.write_text(file.read_text().replace("allowed = false", "allowed = true"))
    assert requester.refused("config", {"set": {"inspect.pass_below": 0.1}}) == "station_file_changed"
    assert requester.refused("switch", {"camera": "cam0", "on": False}) == "station_file_changed"
    assert not daemon.config.tools["stop_line"].allowed
    assert not load_config(file).changes_path.exists()


@pytest.mark.parametrize(
    ("allow", "refused"),
    [("[]", "config switch"), ('["model", "switch"]', "config"), ('["model", "config"]', "switch")],
)
def test_each_is_refused_without_its_own_word(
    file: Path, client: Client, requester: Requester, allow: str, refused: str
) -> None:
    file.write_text(file.read_text().replace('["config", "switch"]', allow))
    bodies: dict[str, dict[str, Any]] = {
        "config": {"set": {"inspect.pass_below": 0.1}},
        "switch": {"camera": "cam0", "on": False},
    }
    with Daemon(load_config(file)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for name in refused.split():
            assert requester.refused(name, bodies[name]) == "not_allowed"
        commands = client.on(f"{BASE}/info")[0].json()["commands"]
        assert not set(refused.split()) & set(commands)
        assert daemon.config.inspect.pass_below == 0.35
    assert not load_config(file).changes_path.exists()


def test_a_file_of_changes_opens_no_other_table(file: Path) -> None:
    before = load_config(file)
    keys = {"tools.stop_line.allowed": True, "remote.allow": ["model"], "station.name": "x"}
    load_config(file).changes_path.write_text(json.dumps({"config": keys}))
    assert load_config(file) == before


def test_a_file_of_changes_that_cannot_be_read_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = load_config(file).changes_path
    path.write_text("{")
    assert main(["check", str(file)]) == 2
    assert "station.remote.json cannot be read" in capsys.readouterr().err
    path.write_text(json.dumps({"config": {"inspect.pass_below": 3, "cameras.gone.part": "valve"}}))
    assert main(["check", str(file)]) == 2
    assert f"{path}: `inspect.pass_below`" in capsys.readouterr().err
