"""A plain MQTT client beside the daemon: all that the demo prints came through the broker. It plays the world, too."""

from __future__ import annotations

import json
import queue
import threading
import time
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

TICK_S = 0.1
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
        self._again: dict[str, tuple[str, float, float]] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if config.mqtt.username:
            client.username_pw_set(config.mqtt.username, config.mqtt.password.get_secret_value())
        topics = [f"{self.topics.base}/#", *(device.command for device in devices)]
        client.on_connect = lambda c, *_: c.subscribe([(topic, 1) for topic in topics])
        client.on_message = self._handle
        client.connect(config.mqtt.host, config.mqtt.port)
        client.loop_start()
        self.client = client
        threading.Thread(target=self._repeat, name="world", daemon=True).start()

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
        self.client.publish(state, json.dumps(self._told(state, payload)), qos=1, retain=True)

    def _told(self, state: str, payload: bytes) -> dict[str, Any]:
        self._states[state] = self._states.get(state, {}) | json.loads(payload)
        return self._states[state]

    def say(self, topic: str, payload: Any, every_s: float = 0.0) -> None:
        """What the world says of itself: once, retained, or again and again."""
        if isinstance(payload, dict):
            self._states[topic] = payload
        text = payload if isinstance(payload, str) else json.dumps(payload)
        with self._lock:
            self._again.pop(topic, None)
            if every_s:
                self._again[topic] = (text, every_s, time.monotonic() + every_s)
        self.client.publish(topic, text, qos=1, retain=not every_s).wait_for_publish(PATIENCE_S)

    def _repeat(self) -> None:
        while not self._closed.wait(TICK_S):
            now = time.monotonic()
            with self._lock:
                due = {topic: said for topic, said in self._again.items() if said[2] <= now}
                self._again |= {topic: (text, every_s, now + every_s) for topic, (text, every_s, _) in due.items()}
            for topic, (text, _, _) in due.items():
                self.client.publish(topic, text, qos=0)

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
        self._closed.set()
        self.client.disconnect()
        self.client.loop_stop()
        self.client.on_message = None  # it holds this object: together they would wait for the garbage collector
