"""A plain MQTT client beside the daemon: all that the demo prints came through the broker. It plays the world, too."""

from __future__ import annotations

import json
import queue
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.config import Config
from lineside.edge.demo.scene import Device
from lineside.edge.errors import BrokerError
from lineside.edge.wire.topics import Topics

SHOWN = ("result", "event", "call", "rsp")
PATIENCE_S = 300.0
"""Without any of these: a slow machine may take a minute for a picture, and none takes five."""


class Watcher:
    """Hands on what the station publishes, and plays what it commands: an actuator answers each call as achieved, and a
    device says that it is as it was told.

    Raises OSError where there is no broker.
    """

    def __init__(self, config: Config, devices: Sequence[Device] = ()) -> None:
        self.topics = Topics(config.base_topic)
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._devices, self._states = devices, dict[str, dict[str, Any]]()
        self._said = 0
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if config.mqtt.username:
            client.username_pw_set(config.mqtt.username, config.mqtt.password.get_secret_value())
        topics = [f"{self.topics.base}/#", *(device.command for device in devices)]
        client.on_connect = lambda c, *_: c.subscribe([(topic, 1) for topic in topics])
        client.on_message = self._handle
        client.connect(config.mqtt.host, config.mqtt.port)
        client.loop_start()
        self.client = client

    def _handle(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            return
        for device in self._devices:
            if topic_matches_sub(device.command, message.topic):
                self._obey(device, message.topic, bytes(message.payload))
        tool = message.topic.removeprefix(f"{self.topics.base}/call/")
        if tool != message.topic:  # play the actuator
            call = json.loads(message.payload)
            done = {"id": call["id"], "outcome": "achieved", "detail": f"{tool} done"}
            client.publish(self.topics.returned(tool), json.dumps(done), qos=1)
        if message.topic.removeprefix(f"{self.topics.base}/").split("/")[0] in SHOWN:
            self.messages.put((message.topic, bytes(message.payload)))

    def _obey(self, device: Device, topic: str, payload: bytes) -> None:
        self.messages.put((topic, payload))
        whose = topic.removeprefix(device.command.partition("#")[0].partition("+")[0])
        whose = whose.removesuffix(device.command.partition("+")[2])
        state = device.state.replace("+", whose).replace("#", whose)
        self.say(state, self._states.get(state, {}) | json.loads(payload))

    def say(self, topic: str, payload: Any) -> None:
        """What the world says of itself, retained."""
        if isinstance(payload, dict):
            self._states[topic] = payload
        text = payload if isinstance(payload, str) else json.dumps(payload)
        self.client.publish(topic, text, qos=1, retain=True)

    def next(self) -> tuple[str, bytes]:
        """Topic and payload of the next message. Raises BrokerError where none comes for `PATIENCE_S`."""
        try:
            return self.messages.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise BrokerError(f"the station said nothing for {PATIENCE_S:.0f} s") from None

    def send_command(self, text: str) -> None:
        self._said += 1
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self.topics.response("ask")
        properties.CorrelationData = f"demo-{self._said}".encode()
        body = json.dumps({"text": text, "conversation": "demo"})
        self.client.publish(self.topics.command("ask"), body, qos=1, properties=properties)

    def confirm(self, tool: str, call_id: str) -> None:
        """A person says yes."""
        body = json.dumps({"id": call_id, "confirmed": True, "by": "demo"})
        self.client.publish(self.topics.confirm(tool), body, qos=1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client.on_message = None  # it holds this object: together they would wait for the garbage collector
