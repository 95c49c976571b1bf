"""Zigbee2MQTT's devices as tools, with a real broker: read at the start, told by sentences, watched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.config import CommandConfig, Config
from lineside.edge.daemon import Daemon
from lineside.edge.zigbee_config import Zigbee2MqttConfig, ZigbeeDeviceConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S, until
from tests.support.zigbee import EXPOSES, Bridge, devices

pytestmark = pytest.mark.plain_broker


@pytest.fixture
def bridge(broker: Mosquitto) -> Iterator[Bridge]:
    found = Bridge(broker.port)
    yield found
    found.close()


def home(broker: Mosquitto, folder: Path) -> Config:
    """However slow the machine, the lamp has time to answer."""
    named = {"kitchen_lamp": ZigbeeDeviceConfig(words=("Küchenlampe",)), "porch": ZigbeeDeviceConfig()}
    slow = {name: {"wait_s": LIMIT_S} for name in ("set_kitchen_lamp_state", "set_kitchen_lamp_brightness")}
    section = Zigbee2MqttConfig(devices=named, tools=slow, start_s=LIMIT_S)
    return station(broker.port, folder, zigbee2mqtt=section, commands=CommandConfig(expiry_s=3600.0))


def call(client: Client, text: str, mark: bytes) -> dict[str, Any]:
    client.publish(TOPICS.command("ask"), text, response_topic="clients/1", correlation=mark)
    reply = client.wait_for(lambda m: m.topic == "clients/1" and m.correlation == mark)[0].json()
    report: dict[str, Any] = reply["calls"][0] | {"text": reply["text"]}
    return report


def test_a_lamp_is_told_and_says_so_and_is_not_called_when_it_is_not_there(
    broker: Mosquitto, bridge: Bridge, client: Client, tmp_path: Path
) -> None:
    with Daemon(home(broker, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        info = client.on(TOPICS.info)[0].json()
        assert "set_kitchen_lamp_brightness" in str(info["tools"])
        report = call(client, "Küchenlampe auf 50 Prozent", b"1")
        assert (report["outcome"], report["decided_by"]) == ("achieved", "phrase"), report
        assert report["detail"] == "zigbee2mqtt/kitchen_lamp says 50"
        assert bridge.told == [("kitchen_lamp", {"brightness": 127})]
        assert call(client, "turn on the kitchen lamp", b"2")["outcome"] == "achieved"
        assert call(client, "is the kitchen lamp on?", b"3")["text"] == "kitchen lamp: on"

        bridge.say("kitchen_lamp/availability", b'{"state": "offline"}')
        until(lambda: "zigbee2mqtt.devices.kitchen_lamp is offline" in daemon.degraded.sentences())
        report = call(client, "turn off the kitchen lamp", b"4")
        assert (report["outcome"], report["code"]) == ("refused", "device_unavailable")
        assert report["detail"] == "kitchen_lamp is offline: nothing was sent"
        assert call(client, "is the kitchen lamp on?", b"5")["code"] == "state_unknown"

        bridge.say("kitchen_lamp/availability", b"online")
        bridge.say("bridge/devices", devices({name: each for name, each in EXPOSES.items() if name != "kitchen_lamp"}))
        until(lambda: any("does not list it any more" in sentence for sentence in daemon.degraded.sentences()))
        assert "any more" in call(client, "turn off the kitchen lamp", b"6")["detail"]
        assert len(bridge.told) == 2
