"""A lamp as Zigbee2MQTT shows it: set on one topic, its state retained on another. It rounds as lamps do."""

from __future__ import annotations

import json
from typing import Any

import paho.mqtt.client as paho

from tests.support.client import Client

TOPIC = "zigbee2mqtt/lamp"


class Lamp(Client):
    """Attributes:
    obeys: whether it does what it is told; one that does not says its old state.
    """

    def __init__(self, port: int, brightness: int = 0) -> None:
        self.obeys, self.brightness = True, brightness
        super().__init__(port, f"{TOPIC}/set")
        self.say()

    def say(self) -> None:
        body = {"brightness": self.brightness, "linkquality": 120, "state": "ON" if self.brightness else "OFF"}
        self._client.publish(TOPIC, json.dumps(body), qos=1, retain=True)

    def _handle(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        super()._handle(client, data, message)
        if self.obeys:
            self.brightness = max(json.loads(message.payload)["brightness"] - 1, 0)
        self.say()
