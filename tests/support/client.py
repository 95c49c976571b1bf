"""A plain MQTT 5 client for tests: collects what arrives, and waits for what a test expects."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.demo.broker import HOST
from tests.support.broker import Mosquitto
from tests.support.wait import LIMIT_S


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    retain: bool
    content_type: str
    correlation: bytes | None

    def json(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.payload)
        return body


class Client:
    def __init__(
        self, broker: Mosquitto | int, topic: str = "#", *, username: str = "", password: str = "", ca_file: str = ""
    ) -> None:
        port = broker if isinstance(broker, int) else broker.port
        if not isinstance(broker, int) and not username:
            access = broker.client_access
            username, password, ca_file = (access.get(name, "") for name in ("username", "password", "ca_file"))
        self.received: list[Received] = []
        self._condition = threading.Condition()
        self._subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if username:
            client.username_pw_set(username, password)
        if ca_file:
            client.tls_set(ca_file)
        client.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._handle
        client.connect(HOST, port)
        client.loop_start()
        self._client = client
        assert self._subscribed.wait(LIMIT_S)

    def _handle(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        received = Received(
            message.topic,
            bytes(message.payload),
            message.retain,
            getattr(properties, "ContentType", ""),
            getattr(properties, "CorrelationData", None),
        )
        with self._condition:
            self.received.append(received)
            self._condition.notify_all()

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str = "",
        correlation: bytes = b"",
        expiry_s: int = 0,
        user: dict[str, str] | None = None,
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if response_topic:
            properties.ResponseTopic = response_topic
        if correlation:
            properties.CorrelationData = correlation
        if expiry_s:
            properties.MessageExpiryInterval = expiry_s
        if user:
            properties.UserProperty = list(user.items())
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        info.wait_for_publish(LIMIT_S)

    def wait_for(self, matches: Callable[[Received], bool], count: int = 1) -> list[Received]:
        """The first `count` messages that match, waiting for them; fails the test where nothing comes any more."""
        deadline, seen = 0.0, -1
        with self._condition:
            while True:
                found = [message for message in self.received if matches(message)]
                if len(found) >= count:
                    return found[:count]
                if len(self.received) > seen:
                    deadline, seen = time.monotonic() + LIMIT_S, len(self.received)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    topics = sorted({message.topic for message in self.received})
                    raise AssertionError(f"{len(found)} of {count} expected messages; topics seen: {topics}")
                self._condition.wait(remaining)

    def on(self, topic: str, count: int = 1) -> list[Received]:
        return self.wait_for(lambda message: message.topic == topic, count)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None  # it holds this object: together they would wait for the garbage collector
