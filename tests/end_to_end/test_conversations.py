"""What was called last, and what a device said last, for the next command of the same requester."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.config import CommandConfig, Config, ModelConfig
from lineside.edge.daemon import Daemon
from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import StateConfig, ToolConfig
from lineside.runtime.chat import Message
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.upgrade import upgrade_bundle
from tests.support.broker import Mosquitto
from tests.support.bundles import copy_bundle
from tests.support.client import Client
from tests.support.scripted import Say, Scripted
from tests.support.station import SPEED, THREADS, TOPICS, UNCHECKED, station
from tests.support.wait import LIMIT_S

TOOLS = {
    "open_garage": ToolConfig("Open the garage.", wait_s=0.0, state=StateConfig("garage", expect="open")),
    "close_garage": ToolConfig("Close the garage.", wait_s=0.0, opposite="open_garage"),
    "belt": ToolConfig("Set the speed.", SPEED, wait_s=0.0, step={"percent": 10}, unchecked=UNCHECKED),
}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """A model that opens the garage where it is told so, and else says something."""

    def says(messages: list[Message]) -> Say:
        text = str(messages[-1].content[-1])
        if text.endswith("open"):
            return [("open_garage", {})]
        return [("belt", {"percent": 50})] if text == "belt" else "No function fits."

    model = Scripted(says)
    monkeypatch.setattr("lineside.runtime.commands.decide.ask", model)
    return model


@pytest.fixture
def config(broker: Mosquitto, tmp_path: Path) -> Config:
    return station(broker, tmp_path, tools=TOOLS, commands=CommandConfig(rounds=1, expiry_s=3600.0))


@pytest.fixture
def home(config: Config) -> Iterator[Daemon]:
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        yield daemon


def reply(client: Client, text: str, topic: str = "clients/ann") -> dict[str, Any]:
    mark = f"{len(client.received)}".encode()
    client.publish(TOPICS.command("ask"), text, response_topic=topic, correlation=mark)
    return client.wait_for(lambda m: m.correlation == mark and "/cmd/" not in m.topic)[0].json()


def called(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call["name"], call["outcome"]) for call in body["calls"]]


@pytest.mark.usefixtures("home")
def test_stop_that_is_the_opposite_of_what_this_requester_called(client: Client, scripted: Scripted) -> None:
    assert reply(client, "stop that")["error"]["code"] == "no_conversation"
    assert called(reply(client, "open")) == [("open_garage", "issued")]
    stranger = reply(client, "stop that", "clients/ben")
    assert (stranger["ok"], stranger["calls"], stranger["error"]["code"]) == (False, [], "no_conversation")
    named = reply(client, '{"text": "stop that", "conversation": "another"}')
    assert named["error"]["code"] == "no_conversation"
    asked = len(scripted.conversations)
    assert called(reply(client, "Stop that, please!")) == [("close_garage", "issued")]
    assert called(reply(client, "noch einmal")) == [("close_garage", "issued")]
    assert called(reply(client, "undo that")) == [("open_garage", "issued")]
    assert len(scripted.conversations) == asked, "the model was asked what is known"
    names = [message.topic.rsplit("/", 1)[1] for message in client.received if "/call/" in message.topic]
    assert names == ["open_garage", "close_garage", "close_garage", "open_garage"]


@pytest.mark.usefixtures("home", "scripted")
def test_a_bit_more_is_a_declared_step(client: Client) -> None:
    reply(client, "belt")
    (report,) = reply(client, "a bit more")["calls"]
    assert (report["arguments"], report["decided_by"]) == ({"percent": 60}, "conversation")
    assert reply(client, "un peu moins")["calls"][0]["arguments"] == {"percent": 50}


def test_a_model_that_was_not_taught_it_sees_the_command_alone(
    home: Daemon, client: Client, scripted: Scripted
) -> None:
    home.calls.states.take("garage", b"open", retained=False)
    reply(client, "open")
    reply(client, "and more of it")
    assert [message.content for message in scripted.conversations[-1]][1:] == [("and more of it",)]


def test_one_that_was_taught_it_sees_states_and_what_was_said(
    config: Config, client: Client, scripted: Scripted, tmp_path: Path
) -> None:
    """Of this requester alone."""
    taught = tmp_path / "taught.toml"
    taught.write_text("conversation = true\nrounds = 1")
    bundle = upgrade_bundle(copy_bundle(DEFAULT_BUNDLE, tmp_path / "bundle"), taught).path
    config = dataclasses.replace(config, model=ModelConfig(bundle=str(bundle), threads=THREADS))
    with Daemon(config) as home:
        assert home.wait_online(LIMIT_S)
        home.calls.states.take("garage", b"open", retained=False)
        reply(client, "open")
        reply(client, "something else", "clients/ben")
        reply(client, "and more of it")
    first, other, last = ([(m.role, *map(str, m.content)) for m in messages[1:]] for messages in scripted.conversations)
    states = "Last states:\nopen_garage: open ("
    assert [len(first), len(other), len(last)] == [1, 1, 5]
    assert first[0][1].startswith(states)
    assert [turn[0] for turn in last] == ["user", "assistant", "tool", "assistant", "user"]
    assert last[0] == ("user", "open")
    assert last[-1][1].startswith(states)
    assert last[-1][1].endswith(")\n\nand more of it")


def test_states_that_leave_no_room_are_found_at_start(config: Config, tmp_path: Path) -> None:
    taught = tmp_path / "taught.toml"
    taught.write_text("conversation = true")
    bundle = upgrade_bundle(copy_bundle(DEFAULT_BUNDLE, tmp_path / "bundle"), taught).path
    tools = {f"tool{index}": ToolConfig("T.", state=StateConfig("x", expect="on")) for index in range(4)}
    small = ModelConfig(threads=THREADS, capacity=700)
    config = dataclasses.replace(config, tools=tools, model=small)
    fits = Daemon(config)  # the default model is not shown them
    fits.store.close()
    fits.history.close()
    fits.calls.close_audit()
    config = dataclasses.replace(config, model=dataclasses.replace(small, bundle=str(bundle)))
    with pytest.raises(ConfigError, match="tokens of each prompt"):
        Daemon(config)
