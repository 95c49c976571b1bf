"""A lamp's state over a real broker: what came of a call, what is answered, what is known after an outage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.config import CommandConfig
from lineside.edge.daemon import Daemon
from lineside.edge.tool_config import PublishConfig, StateConfig, ToolConfig
from lineside.runtime.chat import Message
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.lamp import TOPIC, Lamp
from tests.support.scripted import Say, Scripted
from tests.support.station import SPEED, TOPICS, station
from tests.support.wait import LIMIT_S, until

pytestmark = pytest.mark.plain_broker

TOOLS = {
    "set_lamp": ToolConfig(
        "Set the brightness of the lamp in percent.",
        SPEED,
        wait_s=LIMIT_S,
        publish=PublishConfig(f"{TOPIC}/set", {"brightness": "{{ (percent * 2.54) | round | int }}"}),
        state=StateConfig(TOPIC, "{{ brightness }}", within=1),
    ),
    "is_lamp_on": ToolConfig(
        "Say whether the lamp is on.",
        query="The lamp is {{ state | lower }}.",
        state=StateConfig(TOPIC, "{{ state }}"),
        phrases=("is the lamp on?",),
    ),
}


@pytest.fixture
def home(broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A station whose model sets the lamp to the number that is said, and that connects again at once."""
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)

    def says(messages: list[Message]) -> Say:
        return [("set_lamp", {"percent": int(str(messages[-1].content[-1]).split()[-1])})]

    monkeypatch.setattr("lineside.runtime.commands.decide.ask", Scripted(says))
    commands = CommandConfig(rounds=1, expiry_s=3600.0)
    with Daemon(station(broker.port, tmp_path, tools=TOOLS, commands=commands)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        yield daemon


def call(client: Client, text: str, mark: bytes) -> dict[str, Any]:
    client.publish(TOPICS.command("ask"), text, response_topic="clients/1", correlation=mark)
    reply = client.wait_for(lambda m: m.topic == "clients/1" and m.correlation == mark)[0].json()
    report: dict[str, Any] = reply["calls"][0] | {"text": reply["text"]}
    return report


def known(daemon: Daemon) -> Any:
    state = daemon.calls.states.known("set_lamp", {})
    return state.value if state is not None else None


@pytest.mark.usefixtures("home")
def test_what_came_of_a_call_is_what_the_lamp_says(broker: Mosquitto, client: Client) -> None:
    """And a question is answered by it, without the model. Nothing is known before the lamp has said anything."""
    assert call(client, "is the lamp on?", b"1")["code"] == "state_unknown"
    lamp = Lamp(broker.port)
    report = call(client, "lamp to 50", b"2")
    assert (report["outcome"], report["detail"]) == ("achieved", f"{TOPIC} says 126")
    answer = call(client, "is the lamp on?", b"3")
    assert (answer["outcome"], answer["result"]["text"]) == ("achieved", "The lamp is on.")
    assert (answer["text"], answer["decided_by"]) == ("The lamp is on.", "phrase")
    client.on(f"{TOPIC}/set")
    assert not [message for message in client.received if "/call/" in message.topic]
    lamp.close()


def test_after_an_outage_nothing_is_known_until_it_is_heard_again(home: Daemon, broker: Mosquitto) -> None:
    lamp = Lamp(broker.port, 200)
    until(lambda: known(home) == 200)
    broker.stop()
    until(lambda: known(home) is None)
    until(lambda: any("states of tools" in sentence for sentence in home.degraded.sentences()))
    lamp.close()
    broker.start()  # it has kept nothing
    link = home.state_link.connection
    assert link is not None
    assert link.connected.wait(LIMIT_S)
    until(lambda: not any("states of tools" in sentence for sentence in home.degraded.sentences()))
    assert known(home) is None
    again = Lamp(broker.port, 30)
    until(lambda: known(home) == 30)
    again.close()


def test_a_lamp_that_was_there_before_the_station_is_known(broker: Mosquitto, request: pytest.FixtureRequest) -> None:
    """By what the broker has kept, which is said."""
    lamp = Lamp(broker.port, 10)
    lamp.close()
    home: Daemon = request.getfixturevalue("home")
    until(lambda: known(home) == 10)
    assert "set_lamp: 10 (kept by the broker" in home.calls.states.text()
