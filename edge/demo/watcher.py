"""A plain MQTT client beside the daemon: everything that the demo prints came through the broker."""

from __future__ import annotations

import json
import queue
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.config import Config
from lineside.edge.errors import BrokerError
from lineside.edge.wire.topics import Topics

SHOWN = ("result", "event", "call", "rsp")
PATIENCE_S = 300.0
"""Without any of these: a slow machine may take a minute for a picture, and none takes five."""


class Watcher:
    """Hands on what the station publishes, and plays the actuator: each call is answered as achieved.

    Raises OSError where there is no broker.
    """

    def __init__(self, config: Config) -> None:
        self.topics = Topics(config.base_topic)
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if config.mqtt.username:
            client.username_pw_set(config.mqtt.username, config.mqtt.password.get_secret_value())
        client.on_connect = lambda c, *_: c.subscribe(f"{self.topics.base}/#", qos=1)
        client.on_message = self._handle
        client.connect(config.mqtt.host, config.mqtt.port)
        client.loop_start()
        self.client = client

    def _handle(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            return
        tool = message.topic.removeprefix(f"{self.topics.base}/call/")
        if tool != message.topic:  # play the actuator
            call = json.loads(message.payload)
            done = {"id": call["id"], "outcome": "achieved", "detail": f"{tool} done"}
            client.publish(self.topics.returned(tool), json.dumps(done), qos=1)
        if message.topic.removeprefix(f"{self.topics.base}/").split("/")[0] in SHOWN:
            self.messages.put((message.topic, bytes(message.payload)))

    def next(self) -> tuple[str, bytes]:
        """Topic and payload of the next message. Raises BrokerError where none comes for `PATIENCE_S`."""
        try:
            return self.messages.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise BrokerError(f"the station said nothing for {PATIENCE_S:.0f} s") from None

    def send_command(self, text: str) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self.topics.response("ask")
        properties.CorrelationData = b"demo-1"
        self.client.publish(self.topics.command("ask"), text, qos=1, properties=properties)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client.on_message = None  # it holds this object: together they would wait for the garbage collector
