"""Requesters, cameras and an actuator, each a client of the broker, with an account of what becomes of everything."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.demo.broker import HOST
from tests.chaos.account import Account, Kind
from tests.chaos.station import ACT, NOTE, TOPICS
from tests.chaos.watcher import Watcher, seconds_left
from tests.support.small import small_picture

PICTURE = small_picture()
MOST_OPEN = 40
"""Without an answer."""
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
    """Sends until it is told to stop, at most `most_open` requests ahead of the answers.

    Args:
        unmarked: whether some commands carry nothing to know them by; only with a broker that keeps its session.
        kinds: what is sent, one of them as often as the other.
        clock_is_right: whether the station's clock is this one, so that its times can be compared.
        most_open: requests without an answer, before it waits.
        tapped: who was acknowledged and answered is told by a tap on the link, not by these clients.

    Attributes:
        rests: set while it sends nothing by itself.
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
        clock_is_right: bool = True,
        most_open: int = MOST_OPEN,
    ) -> None:
        self.account, self._watcher, self._rng = account, watcher, rng
        self._clock_is_right, self._most_open = clock_is_right, most_open
        self._unmarked, self._tapped, self._kinds = unmarked, tapped, kinds
        self._count, self._lock = 0, threading.Lock()
        self._mids: dict[int, str] = {}
        self._early: dict[int, bool] = {}
        self._last_info: paho.MQTTMessageInfo | None = None
        self._stop, self._subscribed, self._online, self.rests = (threading.Event() for _ in range(4))
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
            ended.on_connect = ended.on_message = ended.on_publish = None  # no circle for the garbage collector

    def send(self, kind: Kind) -> str:
        """One request; returns its id."""
        request, number = self._next("r"), self._rng.random()
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
        self.account.sent(request, kind)
        self._publish(topic, payload, 1, attached, request)
        return request

    def send_raw(self, topic: str, payload: bytes, qos: int, user: dict[str, str], *, counts: bool) -> None:
        """Anything at all; where it counts, it is known by its part, or by where its reply goes."""
        request = self._next("m")
        attached = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        attached.UserProperty = [("part_id", request), *user.items()]
        attached.ResponseTopic = TOPICS.response(request)
        if counts:
            self.account.sent(request, "frame" if topic.startswith(TOPICS.frame("")) else "note")
        self._publish(topic, payload, qos, attached, request if counts else "")

    def _next(self, letter: str) -> str:
        with self._lock:
            self._count += 1
            return f"{letter}{self._count}"

    def _publish(self, topic: str, payload: bytes, qos: int, attached: Properties, request: str) -> None:
        """Without a lock of ours, as paho holds its own while it calls back; the call may come first."""
        info = self._sender.publish(topic, payload, qos=qos, properties=attached)
        with self._lock:
            taken = self._early.pop(info.mid, None)
            if taken is None:
                self._mids[info.mid] = request
            if not request:
                self._last_info = info
        if taken and request:
            self.account.acknowledged(request)

    def wait_sent(self) -> None:
        """Until the last message that does not count has left: they are not piled up in this process."""
        if self._last_info is not None:
            self._last_info.wait_for_publish(60)

    def _run(self) -> None:
        """Paced by the answers; a short pause between two keeps the machine free for the station."""
        while not self._stop.is_set():
            if self.rests.is_set() or self.account.open_requests() >= self._most_open:
                self.account.wait_change(0.2)
                continue
            self.send(self._rng.choice(self._kinds))
            self._stop.wait(self._rng.uniform(0.005, 0.05))

    def _published(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        taken = reason.value < NOBODY_THERE and not self._tapped
        with self._lock:
            request = self._mids.pop(mid, None)
            if request is None:
                self._early[mid] = taken
        if request and taken:
            self.account.acknowledged(request)

    def _connected(self, listener: paho.Client, *_: Any) -> None:
        listener.subscribe([(f"{TOPICS.base}/{name}", 1) for name in FILTERS])

    def _arrived(self, listener: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == TOPICS.call(ACT):
            body = json.loads(message.payload)
            left_s = seconds_left(body) if self._clock_is_right else math.inf
            if self.account.call(body["arguments"]["request"], body["id"], left_s):
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
