"""A station that looks with one model and takes commands with another, and where one of the two is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lineside.edge.config import CommandConfig
from lineside.edge.daemon import Daemon
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.support.broker import Mosquitto
from tests.support.bundles import damaged
from tests.support.client import Client
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S

TOOLS = {"stop_line": ToolConfig("Stop the line.", dry_run=True)}


def test_each_answer_names_the_model_that_gave_it(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], random_bundle: Path
) -> None:
    commands = CommandConfig(bundle=str(random_bundle), call_above=0.0)
    with Daemon(station(broker, tmp_path, tools=TOOLS, commands=commands)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        info = client.on(TOPICS.info)[0].json()
        assert info["model"]["name"] == "default"
        assert info["commands_model"]["sha256"] not in (info["model"]["sha256"], "")
        assert info["commands_session"]["device"] == "cpu"
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.publish(TOPICS.command("ask"), b'{"text": "stop the line", "tool_choice": "stop_line"}')
        assert client.on(TOPICS.result("cam0"))[0].json()["model"] == info["model"]
        reply = client.on(TOPICS.response("ask"))[0].json()
        assert reply["model"] == info["commands_model"]
        assert [call["outcome"] for call in reply["calls"]] == ["dry_run"]


def test_a_damaged_model_for_commands_costs_commands_alone(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], random_bundle: Path
) -> None:
    bad = damaged(random_bundle, tmp_path / "bad")
    with Daemon(station(broker, tmp_path, tools=TOOLS, commands=CommandConfig(bundle=str(bad)))) as daemon:
        assert daemon.wait_online(LIMIT_S)
        info = client.on(TOPICS.info)[0].json()
        assert any("commands have no model" in sentence for sentence in info["degraded"])
        assert info["commands_session"]["device"] == "none"
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.publish(TOPICS.command("ask"), b"stop the line")
        assert client.on(TOPICS.result("cam0"))[0].json()["verdict"]
        error = client.on(TOPICS.response("ask"))[0].json()["error"]
        assert error["code"] == "no_model"
        assert "decoder.data is damaged" in error["message"]


def test_a_damaged_model_for_frames_costs_frames_alone(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], random_bundle: Path
) -> None:
    bad = damaged(random_bundle, tmp_path / "bad")
    config = station(broker, tmp_path, tools=TOOLS)
    config = replace(
        config, model=replace(config.model, bundle=str(bad)), commands=CommandConfig(bundle=str(DEFAULT_BUNDLE))
    )
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.publish(TOPICS.command("ask"), b"stop the line")
        rejected = client.on(TOPICS.event("cam0"))[0].json()
        assert rejected["error"]["code"] == "no_model"
        assert client.on(TOPICS.response("ask"))[0].json()["ok"]
