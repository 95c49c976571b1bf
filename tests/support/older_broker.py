"""A broker that speaks MQTT 3.1.1 alone, and a client of it. The broker closes a connection with 5 without a word."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from iotcore import Broker
from paho.mqtt.enums import CallbackAPIVersion

from lineside.edge.demo.broker import HOST, MAX_PAYLOAD_BYTES, TEMPLATE
from tests.support.broker import free_port
from tests.support.wait import LIMIT_S


@contextmanager
def older_broker(folder: Path) -> Iterator[int]:
    """Yields its port."""
    port, path = free_port(), folder / "broker.toml"
    text = TEMPLATE.format(host=HOST, port=port, payload=MAX_PAYLOAD_BYTES)
    path.write_text(text.replace("[v5.", "[v4.").replace('"v5"', '"v4"'), encoding="utf-8")
    broker = Broker(config_path=str(path)).start()
    yield port
    broker.stop()


class OlderClient:
    """Speaks 3.1.1: topics and payloads, and nothing else."""

    def __init__(self, port: int, topic: str = "#") -> None:
        self.received: list[tuple[str, bytes]] = []
        self._condition, subscribed = threading.Condition(), threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        client.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._handle
        client.connect(HOST, port)
        client.loop_start()
        self._client = client
        assert subscribed.wait(LIMIT_S)

    def _handle(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._condition:
            self.received.append((message.topic, bytes(message.payload)))
            self._condition.notify_all()

    def publish(self, topic: str, payload: bytes | str) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(LIMIT_S)

    def wait_for(self, holds: Callable[[list[bytes]], bool], topic: str) -> list[bytes]:
        """What has come on `topic`, once it is what `holds` says."""
        with self._condition:
            found = self._condition.wait_for(lambda: holds(self.on(topic)), LIMIT_S)
            assert found, f"on {topic}: {self.on(topic)}"
            return self.on(topic)

    def bodies(self, topic: str, count: int = 1) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.wait_for(lambda found: len(found) >= count, topic)]

    def on(self, topic: str) -> list[bytes]:
        return [payload for where, payload in self.received if where == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.on_message = None  # it holds this object: together they would wait for the garbage collector
