"""Requesters, cameras and an actuator, each a client of the broker, with an account of what becomes of everything."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.demo.broker import HOST
from lineside.edge.inspection.evidence import encode_jpeg
from tests.chaos.account import Account, Kind
from tests.chaos.station import ACT, NOTE, TOPICS
from tests.chaos.watcher import Watcher, seconds_left

PICTURE = encode_jpeg(np.full((56, 56, 3), 90, np.uint8))
MOST_OPEN = 40
"""Requests without an answer, before the sender waits."""
FILTERS = ("result/+", "event/+", "rsp/+", "call/+", "status")
EVERY_KIND: tuple[Kind, ...] = ("frame", "frame", "act", "note")
NOBODY_THERE = 0x10
"""PUBACK of a message that no one has subscribed to."""
AGAIN_S = 1.0


def client(name: str, port: int) -> paho.Client:
    """Keeps its session, and comes back at once."""
    made = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
    attached = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    attached.SessionExpiryInterval = 86400
    made.reconnect_delay_set(1, 1)
    made.max_inflight_messages_set(MOST_OPEN)
    made.connect_async(HOST, port, keepalive=30, clean_start=False, properties=attached)
    return made


class Traffic:
    """Sends until it is told to stop, at most `MOST_OPEN` requests ahead of the answers.

    Args:
        unmarked: whether some commands carry nothing to know them by; only with a broker that keeps its session.
        kinds: what is sent, one of them as often as the other.
        tapped: who was acknowledged and answered is told by a tap on the link, not by these clients.
    """

    def __init__(
        self,
        port: int,
        account: Account,
        watcher: Watcher,
        rng: random.Random,
        *,
        unmarked: bool,
        tapped: bool,
        kinds: tuple[Kind, ...] = EVERY_KIND,
    ) -> None:
        self.account, self._watcher, self._rng = account, watcher, rng
        self._unmarked, self._tapped, self._kinds = unmarked, tapped, kinds
        self._count, self._lock = 0, threading.Lock()
        self._mids: dict[int, str] = {}
        self._last_info: paho.MQTTMessageInfo | None = None
        self._stop, self._subscribed, self._online = (threading.Event() for _ in range(3))
        self._sender, self._listener = client("sender", port), client("listener", port)
        self._sender.on_publish = self._published
        self._listener.on_connect = self._connected
        self._listener.on_subscribe = lambda *_: self._subscribed.set()
        self._listener.on_message = self._arrived
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        for started in (self._listener, self._sender):
            started.loop_start()

    def start(self) -> None:
        assert self._subscribed.wait(60), "no subscription"
        assert self._online.wait(120), "the station does not come online"
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more; answers are still taken."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        self.stop()
        for ended in (self._sender, self._listener):
            ended.disconnect()
            ended.loop_stop()

    def send(self, kind: Kind) -> str:
        """One request; returns its id."""
        with self._lock:
            self._count += 1
            request, number = f"r{self._count}", self._rng.random()
            self.account.sent(request, kind)
            attached = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if kind == "frame":
                attached.UserProperty = [("part_id", request)]
                topic, payload = TOPICS.frame("cam0"), PICTURE + f" {request}".encode()
            else:
                text = f"{ACT if kind == 'act' else NOTE} {request}"
                topic, payload = TOPICS.command("ask"), text.encode()
                attached.ResponseTopic = TOPICS.response(request)
                if number < 1 / 3:
                    attached.CorrelationData = request.encode()
                elif number < 2 / 3 or not self._unmarked:
                    payload = json.dumps({"text": text, "transaction": request}).encode()
            info = self._sender.publish(topic, payload, qos=1, properties=attached)
            self._mids[info.mid] = request
        return request

    def send_raw(self, topic: str, payload: bytes, qos: int, user: dict[str, str], *, counts: bool) -> None:
        """Anything at all; where it counts, it is known by its part, or by where its reply goes."""
        with self._lock:
            self._count += 1
            request = f"m{self._count}"
            attached = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            attached.UserProperty = [("part_id", request), *user.items()]
            attached.ResponseTopic = TOPICS.response(request)
            if counts:
                self.account.sent(request, "frame" if topic.startswith(TOPICS.frame("")) else "note")
            info = self._sender.publish(topic, payload, qos=qos, properties=attached)
            if counts:
                self._mids[info.mid] = request
            else:
                self._last_info = info

    def wait_sent(self) -> None:
        """Until the last message that does not count has left: they are not piled up in this process."""
        if self._last_info is not None:
            self._last_info.wait_for_publish(60)

    def _run(self) -> None:
        """Paced by the answers; a short pause between two keeps the machine free for the station."""
        while not self._stop.is_set():
            if self.account.open_requests() >= MOST_OPEN:
                self.account.wait_change(0.2)
                continue
            self.send(self._rng.choice(self._kinds))
            self._stop.wait(self._rng.uniform(0.005, 0.05))

    def _published(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._lock:
            request = self._mids.pop(mid, "")
        if request and reason.value < NOBODY_THERE and not self._tapped:
            self.account.acknowledged(request)

    def _connected(self, listener: paho.Client, *_: Any) -> None:
        listener.subscribe([(f"{TOPICS.base}/{name}", 1) for name in FILTERS])

    def _arrived(self, listener: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == TOPICS.call(ACT):
            body = json.loads(message.payload)
            if self.account.call(body["arguments"]["request"], body["id"], seconds_left(body)):
                done = json.dumps({"id": body["id"], "outcome": "achieved"})
                listener.publish(TOPICS.returned(ACT), done, qos=1)
        elif message.topic == TOPICS.status:
            if message.payload == b"online":
                self._online.set()
        elif not self._tapped:
            self._watcher.take(message.topic, bytes(message.payload))


def ask_and_wait(traffic: Traffic, timeout_s: float) -> float:
    """Seconds until a new frame and a new command have their answers. What the broker has lost is sent again.

    Raises AssertionError where there is none.
    """
    started = answered = time.monotonic()
    asked: dict[Kind, list[str]] = {"note": [traffic.send("note")], "frame": [traffic.send("frame")]}
    for kind, requests in asked.items():
        while (at := traffic.account.wait_answered(requests, AGAIN_S)) is None:
            waited = time.monotonic() - started
            assert waited < timeout_s, f"the station does not answer a {kind}, {requests[0]}, within {timeout_s:g} s"
            requests.append(traffic.send(kind))
        answered = max(answered, at)
    return answered - started
