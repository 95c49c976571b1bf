"""The connection to the broker: MQTT 5 on paho, with what paho leaves to its user.

An exception in a paho callback would kill its network thread while `is_connected()` stays true, so callbacks are
wrapped;
TCP_NODELAY is set, since a QoS 1 round trip takes 88 ms without it; commands are acknowledged by hand, after
they were taken over; and the broker's maximum packet size, which paho ignores, is checked before publishing.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.edge.config import MqttConfig
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError, ConfigError, QueueFull
from lineside.edge.wire.identity import Delivery
from lineside.edge.wire.takeover import Takeovers

log = logging.getLogger("lineside.mqtt")
INFLIGHT = 10
WILL_DELAY_S = 5
RECONNECT_MAX_S = 30
POISON_LIMIT = 3
SESSION_TAKEN_OVER = 0x8E
PACKET_OVERHEAD = 1024
"""Bytes for topic and properties beside the payload."""


@dataclass(frozen=True)
class Message:
    """An incoming message. `acknowledge` must be called once for QoS 1; until then the broker keeps the message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    response_topic: str
    correlation: bytes | None
    expiry_s: int | None
    user: dict[str, str]
    acknowledge: Callable[[], None]
    packet_id: int = 0
    dup: bool = False
    session: str = ""
    """Marks the broker's session: a new one has a new mark."""

    @property
    def delivery(self) -> Delivery | None:
        """How it came; None for QoS 0, which nobody delivers again."""
        return Delivery(self.session, self.packet_id, self.dup) if self.qos else None


class Connection:
    """A client that connects, stays connected, and hands messages to `on_message` on the network thread."""

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        will_topic: str,
        subscriptions: list[tuple[str, int]],
        on_message: Callable[[Message], None],
        on_connect: Callable[[], None],
        *,
        session_mark: Callable[[str, bool], str],
        degraded: Degraded,
    ) -> None:
        self._config = config
        self._subscriptions = subscriptions
        self._on_message, self._on_connect = on_message, on_connect
        self._max_packet = 0
        self._session_name, self._session_mark = f"{client_id}@{config.host}:{config.port}", session_mark
        self._session = ""
        self._takeovers = Takeovers(client_id, degraded)
        self.connected = threading.Event()
        self.refused = ""
        self._stopping = False
        self._delivered: dict[int, Callable[[str], None]] = {}
        self._early: dict[int, str] = {}
        self._dropped_before_subscribed = 0
        self._unreachable_since = 0.0
        self._delivered_lock = threading.Lock()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
        client.on_connect, client.on_disconnect = self._handle_connect, self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_connect_fail = self._handle_unreachable
        client.on_message, client.on_publish = self._handle_message, self._handle_publish
        client.on_socket_open = _no_delay
        client.max_inflight_messages_set(INFLIGHT)
        client.max_queued_messages_set(4 * INFLIGHT)
        client.reconnect_delay_set(1, RECONNECT_MAX_S)
        client.will_set(will_topic, b"offline", qos=1, retain=True, properties=_will_properties())
        if config.username:
            client.username_pw_set(config.username, config.password.get_secret_value() or None)
        if config.tls:
            try:
                client.tls_set(ca_certs=config.ca_file or None)
            except (OSError, ValueError) as error:
                raise ConfigError(f"`mqtt.ca_file` {config.ca_file!r} cannot be used: {error}") from error
        self._client = client

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost. A broker that is down is waited for."""
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._config.session_expiry_s
        self._client.connect_async(
            self._config.host,
            self._config.port,
            keepalive=self._config.keepalive_s,
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()

    def stop(self) -> None:
        self._stopping = True
        self._takeovers.close()
        self._client.disconnect()
        self._client.loop_stop()

    def drop(self) -> None:
        """Cut the TCP connection without a goodbye, as a network outage would; used by fault tests."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)

    def fits(self, payload: bytes) -> bool:
        """False where the broker would refuse the packet and paho resend it for ever."""
        return not self._max_packet or len(payload) + PACKET_OVERHEAD <= self._max_packet

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str = "application/json",
        correlation: bytes | None = None,
        expiry_s: int | None = None,
        delivered: Callable[[], None] = lambda: None,
        refused: Callable[[str], None] | None = None,
    ) -> None:
        """Hand a message to paho. `delivered` is called on the network thread when the broker has acknowledged it, or
        `refused` with the reason where the broker would not have it (`delivered` too, where there is no `refused`).

        Raises:
            BrokerError: the message is larger than the broker takes.
            QueueFull: too many messages wait already; try again later.
        """
        if not self.fits(payload):
            raise BrokerError(f"{topic}: {len(payload)} bytes are more than the broker takes ({self._max_packet})")
        properties = _properties(PacketTypes.PUBLISH)
        properties.ContentType = content_type
        if correlation is not None:
            properties.CorrelationData = correlation
        if expiry_s is not None:
            properties.MessageExpiryInterval = max(expiry_s, 1)

        def ended(problem: str) -> None:
            if problem and refused is not None:
                refused(problem)
            else:
                delivered()

        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if info.rc == paho.MQTT_ERR_QUEUE_SIZE:
            raise QueueFull(f"{topic}: too many messages wait for the broker already")
        # Not under one lock with publish(): paho calls back while it holds a lock that publish() takes.
        with self._delivered_lock:
            problem = self._early.pop(info.mid, None)
            if problem is None:
                self._delivered[info.mid] = ended
        if problem is not None:
            ended(problem)

    # Callbacks, all on paho's network thread

    def _handle_connect(self, client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self.refused = str(reason)
            log.error("the broker at %s:%d refused the connection: %s", self._config.host, self._config.port, reason)
            return
        self._max_packet = int(getattr(properties, "MaximumPacketSize", 0) or 0)
        self.refused = ""
        self._session = self._session_mark(self._session_name, flags.session_present)
        client.subscribe(list(self._subscriptions))

    def _handle_unreachable(self, *_: Any) -> None:
        """Once when an outage begins, then once a minute."""
        now = time.monotonic()
        if now - self._unreachable_since > 60:
            self._unreachable_since = now
            log.warning("no broker at %s:%d; trying again until there is one", self._config.host, self._config.port)

    def _handle_subscribe(self, client: paho.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        """Only now is the station reachable: a command sent before the subscription stands would be lost."""
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self.refused = f"subscription refused: {refused[0]}"
            log.error("the broker refused a subscription (%s): check its access rules", refused[0])
            return
        self._dropped_before_subscribed = 0
        client._clean_start = False
        self._takeovers.stands()
        log.info("connected to %s:%d", self._config.host, self._config.port)
        self.connected.set()
        _guarded(self._on_connect)

    def _handle_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self._stopping:
            wait_s = self._takeovers.lost(reason.value == SESSION_TAKEN_OVER)
            _client.reconnect_delay_set(max(wait_s, 1), max(wait_s, RECONNECT_MAX_S))
            log.warning("the connection to the broker is gone (%s); trying again", reason)
            if not self.connected.is_set():
                self._dropped_before_subscribed += 1
                if self._dropped_before_subscribed >= POISON_LIMIT:
                    # A stored message that paho cannot read (U+FEFF in a property) ends every connection before it
                    # stands. Only a new session gets rid of it.
                    log.error("dropped %d times while connecting: starting a new session", POISON_LIMIT)
                    _client._clean_start = True
        self.connected.clear()

    def _handle_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        mid, qos = message.mid, message.qos
        properties = message.properties
        incoming = Message(
            topic=message.topic,
            payload=bytes(message.payload),
            qos=qos,
            retain=message.retain,
            response_topic=getattr(properties, "ResponseTopic", ""),
            correlation=getattr(properties, "CorrelationData", None),
            expiry_s=getattr(properties, "MessageExpiryInterval", None),
            user=dict(getattr(properties, "UserProperty", [])),
            acknowledge=lambda: _acknowledge(client, mid, qos),
            packet_id=mid,
            dup=message.dup,
            session=self._session,
        )
        _guarded(lambda: self._on_message(incoming))

    def _handle_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused a message (%s): check its access rules for this station's topics", reason)
        problem = str(reason) if reason.is_failure else ""
        with self._delivered_lock:
            ended = self._delivered.pop(mid, None)
            if ended is None:  # acknowledged before publish() returned
                self._early[mid] = problem
        if ended is not None:
            _guarded(lambda: ended(problem))


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # must not reach paho: it would end the network thread
        log.exception("a message could not be handled")


def _acknowledge(client: paho.Client, mid: int, qos: int) -> None:
    if qos:
        client.ack(mid, qos)


def _no_delay(_client: paho.Client, _data: Any, sock: Any) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, AttributeError):
        log.debug("TCP_NODELAY could not be set")


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _will_properties() -> Properties:
    properties = _properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = WILL_DELAY_S
    properties.ContentType = "text/plain"
    return properties
