"""A connection without a session: nothing is kept for it, and each attempt has a will of its own.

What is published has QoS 0, as Sparkplug B asks for. Whether it has arrived is asked for by a subscription that stands
already: a broker reads what comes in order, and has read all that was sent before what it answers.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from lineside.edge.errors import ConfigError
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.brokers import Attempts
from lineside.edge.wire.causes import closed_without_a_word, explain, silent
from lineside.edge.wire.mqtt import UNSUPPORTED_VERSION, Connection
from lineside.edge.wire.network import TICK_S, Again, Network
from lineside.edge.wire.paho_client import PahoClient, no_delay

log = logging.getLogger("lineside.mqtt")


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes


class Peer(Protocol):
    """Whose connection it is. All is called on the network thread."""

    def will(self) -> Will:
        """Of the attempt to connect that comes now."""

    def stands(self) -> None:
        """The subscriptions stand."""

    def heard(self, topic: str, payload: bytes) -> None:
        """A message came."""

    def arrived(self, mark: int) -> None:
        """What was sent before `ask` gave this mark has arrived."""

    def ended(self, cause: str) -> None:
        """There is no connection, or none any more."""


class CleanSession:
    """Connects as `client_id` to the broker of `leader`, and again whenever it is lost.

    Args:
        filters: what is subscribed to, with QoS 1; the first is asked for again by `ask`.
    """

    def __init__(
        self, config: MqttConfig, client_id: str, filters: list[str], peer: Peer, leader: Connection | None
    ) -> None:
        self._config, self._client_id, self._filters, self._peer = config, client_id, filters, peer
        self._network = Network(client_id, self)
        path = config.websocket_path if config.transport == "websockets" else ""
        self._client = client = PahoClient(client_id, lambda *_: None, self._network.wake, path)
        client.on_connect, client.on_subscribe = self._handle_connect, self._handle_subscribe
        client.on_message, client.on_disconnect = self._handle_message, self._handle_disconnect
        client.on_socket_open = no_delay
        self._attempts = Attempts(config, 20, leader._attempts if leader is not None else None)
        self._stopping = self._greeted = self._by_broker = False
        self._first, self._cause = 0, ""
        self.connected = threading.Event()

    def start(self) -> None:
        self._network.start(self._client)

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt."""
        if not self.connected.is_set():
            self._network.connect_now()
        elif self._attempts.astray:
            self._client.shut_down()

    def publish(self, topic: str, payload: bytes) -> bool:
        """Whether it was handed to the socket."""
        if not self.connected.is_set():
            return False
        return self._client.publish(topic, payload, qos=0).rc == paho.MQTT_ERR_SUCCESS

    def ask(self) -> int:
        """A mark, with which `arrived` is called; 0 where there is no connection."""
        result, mark = self._client.subscribe(self._filters[0], qos=1)
        return mark or 0 if result == paho.MQTT_ERR_SUCCESS else 0

    def leave(self) -> None:
        """End the connection with a goodbye; another is made."""
        self._client.disconnect()

    def stop(self) -> None:
        self._stopping = True
        connected = self._client.socket() is not None
        self._network.stop(self._client.disconnect if connected else self._client.shut_down)

    # What the network thread asks and tells

    def begin(self) -> None:
        self._greeted, self._by_broker, self._cause, self._first = False, False, "", 0
        attempt = replace(self._attempts.begin(), session_expiry_s=0, clean=True)
        will = self._peer.will()
        self._client.will_set(will.topic, will.payload, qos=1, retain=False)
        self._client.aim(attempt)

    def is_full(self) -> bool:
        return False

    def next_check_s(self) -> float:
        return TICK_S

    def check(self) -> None:
        """Nothing is in flight here."""

    def failed(self, error: Exception) -> Again:
        broker = self._attempts.broker
        self._end(str(error) if isinstance(error, ConfigError) else explain(error, broker.host, broker.port))
        return Again(at_once=self._attempts.ended(stood=False, unanswered=False) == "broker")

    def lost(self) -> Again:
        stood = self.connected.is_set()
        self.connected.clear()
        if self._stopping:
            return Again(stood)
        unanswered = self._by_broker and not (self._greeted or isinstance(self._client.failure, ssl.SSLError))
        then = self._attempts.ended(stood=stood, unanswered=unanswered)
        if then == "version":
            return Again(at_once=True)
        self._end(self._cause or self._why_not(stood))
        return Again(stood, then == "broker")

    def _why_not(self, stood: bool) -> str:
        broker = self._attempts.broker
        if stood or self._greeted:
            return f"the connection to {broker} is gone"
        if not self._by_broker:
            return silent(broker.host, broker.port, self._config.keepalive_s)
        return closed_without_a_word(broker.host, broker.port, self._config.tls)

    def _end(self, cause: str) -> None:
        self._network.reports.say(cause)
        self._peer.ended(cause)

    # Callbacks, all on the network thread

    def _handle_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _attached: Any) -> None:
        self._greeted = True
        if reason.value == UNSUPPORTED_VERSION and self._client.version == 5:
            self._attempts.has_no_5()
        elif reason.is_failure:
            self._cause = f"the broker at {self._attempts.broker} refused {self._client_id}: {reason}"
        elif not self._attempts.greeted():
            client.disconnect()
        else:
            _, mark = client.subscribe([(topic, 1) for topic in self._filters])
            self._first = mark or 0

    def _handle_subscribe(self, client: Any, _data: Any, mark: int, reasons: Any, _attached: Any) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self._cause = f"the broker refused {self._client_id} a subscription ({refused[0]}): check its access rules"
            client.disconnect()
        elif mark == self._first:
            self._network.reports.clear()
            self.connected.set()
            self._guarded(self._peer.stands)
        else:
            self._guarded(lambda: self._peer.arrived(mark))

    def _handle_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._client.ack(message.mid, message.qos)
        self._guarded(lambda: self._peer.heard(message.topic, bytes(message.payload)))

    def _handle_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _attached: Any) -> None:
        self._by_broker = bool(flags.is_disconnect_packet_from_server) or "eep alive" not in str(reason)

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # must not reach paho: it would end the network thread
            log.exception("a message to %s could not be handled", self._client_id)
