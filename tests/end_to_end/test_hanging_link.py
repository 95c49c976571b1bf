"""A whole station behind a line that hangs, and one that may not have its second connection."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.proxy import CLOSE, Proxy
from tests.support.station import TOOLS, TOPICS, station
from tests.support.wait import until

pytestmark = pytest.mark.plain_broker

LIMIT_S = 60.0
CONNECT = 0x10


def test_an_expired_call_does_not_go_out_when_the_line_recovers(
    broker: Mosquitto, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The station's bytes vanish while it hears. What it sends meanwhile for an actuator is of no use afterwards."""

    def answer(*_args: object, **_options: object) -> Answer:
        return Answer("", (ToolCall(new_call_id(), "stop_line", {}),), "stop", Timings(), Counts())

    monkeypatch.setattr("lineside.runtime.commands.decide.ask", answer)
    proxy = Proxy(broker.port)
    tools = {"stop_line": dataclasses.replace(TOOLS["stop_line"], wait_s=1.0)}
    with Daemon(station(proxy.port, tmp_path, tools=tools)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        proxy.to_broker.clear()
        client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/1", correlation=b"c")
        until(lambda: "messages_called_back" in daemon.counters.snapshot())
        proxy.to_broker.set()
        reply = client.on("clients/1")[0].json()
        assert [call["outcome"] for call in reply["calls"]] == ["expired"]
        assert daemon.outbox.drain(LIMIT_S)
        assert not [message for message in client.received if "/call/" in message.topic]
        assert daemon.counters.snapshot()["outbox_expired"] == 1
        assert daemon.counters.snapshot()["calls"] == 1
    proxy.close()


def test_a_station_without_its_second_connection_says_so(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """It is online all the same, answers commands, and names what is missing until it is there."""
    proxy = Proxy(broker.port)
    proxy.judge = lambda packet: CLOSE if packet[0] == CONNECT and b"-frames" in packet else None
    with Daemon(station(proxy.port, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.wait_for(lambda message: "no frames over MQTT" in str(message.payload))
        client.publish(TOPICS.command("dance"), "now")
        client.on(TOPICS.response("dance"))
        proxy.judge = None
        client.wait_for(lambda message: message.topic == TOPICS.info and message.json()["degraded"] == [])
        assert daemon.frame_connection.connected.is_set()
    proxy.close()
