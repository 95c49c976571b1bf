"""The connection to the broker: MQTT 5 on paho, with what paho leaves to its user.

paho is handed nothing but what is in flight: a message that is not acknowledged when the connection ends goes back to
whom it came from, who may send it again, with the time that it then has left. One that has passed its deadline in
flight is called back, by a reset that throws away what the socket still holds. Messages are acknowledged by hand, on
the connection that they came from or not at all. The broker's maximum packet size, which paho ignores, is kept.
TCP_NODELAY is set, since a QoS 1 round trip takes 88 ms without it.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.edge.config import MqttConfig
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError, ConfigError, NotConnected, QueueFull, TooLarge
from lineside.edge.wire.acknowledgements import Acknowledgements, Window
from lineside.edge.wire.identity import Delivery
from lineside.edge.wire.network import TICK_S, Network
from lineside.edge.wire.paho_client import PahoClient, packet_size, properties, publish_properties
from lineside.edge.wire.takeover import Takeovers

log = logging.getLogger("lineside.mqtt")
IN_FLIGHT = 20
SESSION_TAKEN_OVER = 0x8E
WILL_DELAY_S = 5
SUSPICIOUS_S = 5.0
"""A connection that the broker closes so soon after a message may have been closed because of it."""
PROVED_S = 2.0
DROPPED_NAMED = 200


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


@dataclass(frozen=True)
class Ending:
    """What became of a message that was handed over.

    Attributes:
        code: the broker's reason code, where it refused the message.
        suspicious: the broker closed the connection soon after this one.
        proved: it had taken others on the same connection.
    """

    kind: Literal["acknowledged", "refused", "lost"]
    reason: str = ""
    code: int = 0
    suspicious: bool = False
    proved: bool = False


@dataclass(frozen=True)
class _InFlight:
    topic: str
    sent: float
    deadline: float | None
    ended: Callable[[Ending], None]


def _ignore(_ending: Ending) -> None:
    """Of a message whose end interests nobody."""


class Connection:
    """A client that connects, stays connected, and hands messages to `on_message` on the network thread.

    Args:
        will_topic: where the broker says `offline` once the station is gone; nowhere where it is empty.
        left: topic filters that an earlier version subscribed to, which the broker's session may still have.
        window: what may wait unacknowledged before the socket is left unread, and the broker held back.
        on_trouble: called with each cause of a connection that does not stand.

    Attributes:
        connected: set while the subscriptions stand.
        problem: why there is no connection; empty while there is one.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        will_topic: str,
        subscriptions: list[tuple[str, int]],
        on_message: Callable[[Message], None],
        on_connect: Callable[[], None],
        counters: Counters,
        *,
        session_mark: Callable[[str, bool], str],
        degraded: Degraded,
        left: tuple[str, ...] = (),
        window: Window | None = None,
        on_trouble: Callable[[str], None] = lambda _cause: None,
    ) -> None:
        self._config, self._client_id = config, client_id
        self._subscriptions, self._left = subscriptions, left
        self._on_message, self._on_connect, self._on_trouble = on_message, on_connect, on_trouble
        self._counters = counters
        self._session_name, self._session_mark = f"{client_id}@{config.host}:{config.port}", session_mark
        self._session = self._cause = ""
        self._takeovers, self._taken_over = Takeovers(client_id, degraded), False
        self._max_packet, self._most_in_flight = 0, IN_FLIGHT
        self.connected = threading.Event()
        self.problem = ""
        self._answered, self._stands_since = False, 0.0
        self._stopping = self._closed_by_broker = False
        self._in_flight: dict[int, _InFlight] = {}
        self._network = Network(client_id, self, config.host, config.port)
        self._client = self._make_client(will_topic)
        self._window = window or Window()
        self._acknowledgements = Acknowledgements(self._client.ack, self._window, self._network.wake)
        self._client.on_dropped = lambda mid, qos: self._acknowledgements.take(mid, qos, 0)()

    def _make_client(self, will_topic: str) -> PahoClient:
        config = self._config
        client = PahoClient(self._client_id, self._unreadable, self._network.wake)
        client.on_connect, client.on_disconnect = self._handle_connect, self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_message, client.on_publish = self._handle_message, self._handle_publish
        client.on_socket_open = _no_delay
        if will_topic:
            client.will_set(will_topic, b"offline", qos=1, retain=True, properties=_will_properties())
        if config.username:
            client.username_pw_set(config.username, config.password.get_secret_value() or None)
        if config.tls:
            try:
                client.tls_set(ca_certs=config.ca_file or None)
            except (OSError, ValueError) as error:
                raise ConfigError(f"`mqtt.ca_file` {config.ca_file!r} cannot be used: {error}") from error
        return client

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost. A broker that is down is waited for."""
        attached = properties(PacketTypes.CONNECT)
        attached.SessionExpiryInterval = self._config.session_expiry_s
        attached.ReceiveMaximum = self._window.messages
        self._client.connect_async(
            self._config.host,
            self._config.port,
            keepalive=self._config.keepalive_s,
            clean_start=False,
            properties=attached,
        )
        self._network.start(self._client)

    def stop(self) -> None:
        self._stopping = True
        self._takeovers.close()
        self._network.stop(self._client.disconnect)

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt. What kept the last one from it is forgotten."""
        if not self.connected.is_set():
            self.problem = ""
            self._network.connect_now()

    def drop(self) -> None:
        """Cut the TCP connection without a goodbye, as a network outage would; used by fault tests."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)

    @property
    def proved(self) -> bool:
        """Whether this connection is good for other messages: the broker has answered one, or it stands for a while."""
        return self.connected.is_set() and (self._answered or time.monotonic() - self._stands_since > PROVED_S)

    def room(self, topic: str, content_type: str, correlation: bytes | None) -> int | None:
        """Bytes of a payload that the broker takes there; None where it has named no limit."""
        if not self._max_packet:
            return None
        without = packet_size(topic, b"", publish_properties(content_type, correlation, 1.0))
        return max(self._max_packet - without - 3, 0)  # the length itself takes up to three bytes more

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str = "application/json",
        correlation: bytes | None = None,
        expiry_s: float | None = None,
        deadline: float | None = None,
        ended: Callable[[Ending], None] = _ignore,
    ) -> None:
        """Send a message now. `ended` is called once with what became of it, on the network thread; for QoS 1 only.

        Args:
            expiry_s: after so long the broker throws it away.
            deadline: on `time.monotonic()`; where it has not been acknowledged then, it is called back.

        Raises:
            NotConnected, QueueFull: try again later.
            TooLarge: the packet has more bytes than the broker takes.
            BrokerError: it cannot be sent at all, such as to a topic that is none.
        """
        attached = publish_properties(content_type, correlation, expiry_s)
        size = packet_size(topic, payload, attached)
        if self._max_packet and size > self._max_packet:
            raise TooLarge(f"{topic}: {size} bytes are more than the broker takes ({self._max_packet})")
        with self._client.lock:
            if not self.connected.is_set():
                raise NotConnected(f"{topic}: there is no connection to the broker")
            if qos and len(self._in_flight) >= self._most_in_flight:
                raise QueueFull(f"{topic}: too many messages wait for the broker already")
            try:
                info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=attached)
            except ValueError as error:
                raise BrokerError(f"{topic!r}: {error}") from error
            if info.rc != paho.MQTT_ERR_SUCCESS:
                self._client.forget(info.mid)
                raise NotConnected(f"{topic}: the connection to the broker has just ended")
            if qos:
                self._in_flight[info.mid] = _InFlight(topic, time.monotonic(), deadline, ended)
        if deadline is not None:
            self._network.wake()

    # What the network thread asks and tells

    def begin(self) -> None:
        self._closed_by_broker, self._cause, self._taken_over = False, "", False
        self._acknowledgements.begin_connection()

    def is_full(self) -> bool:
        return self._acknowledgements.is_full()

    def next_check_s(self) -> float:
        with self._client.lock:
            deadlines = [message.deadline for message in self._in_flight.values() if message.deadline is not None]
        return max(min(deadlines) - time.monotonic(), 0.0) if deadlines else TICK_S

    def check(self) -> None:
        """A message in flight that is past its deadline hangs somewhere: it must not arrive when the link recovers."""
        now = time.monotonic()
        with self._client.lock:
            late = [m.topic for m in self._in_flight.values() if m.deadline is not None and m.deadline <= now]
        if late and self._client.socket() is not None:
            self._counters.add("messages_called_back", len(late))
            self._cause = f"{late[0]} is not acknowledged in its time: the connection is cut, so that it is not late"
            self._client.reset()

    def failed(self, cause: str) -> None:
        self._takeovers.unreachable()
        self._say(cause)

    def lost(self) -> tuple[bool, float]:
        stood, proved, now = self.connected.is_set(), self.proved, time.monotonic()
        with self._client.lock:
            self.connected.clear()
            self._client.drop_out_messages()
            unacknowledged, self._in_flight = self._in_flight, {}
            self._answered = False
        self._acknowledgements.end_connection()
        for message in unacknowledged.values():
            suspicious = self._closed_by_broker and now - message.sent < SUSPICIOUS_S
            _guarded(partial(message.ended, Ending("lost", suspicious=suspicious, proved=proved)))
        if not self._stopping:
            self._say(self._cause or f"the connection to {self._where()} is closed before it stands")
        return stood, 0.0 if self._stopping else self._takeovers.lost(self._taken_over, self._closed_by_broker)

    # Callbacks, all on the network thread

    def _handle_connect(
        self, client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, attached: Properties | None
    ) -> None:
        if reason.is_failure:
            self._cause = f"the broker at {self._where()} refused the connection: {reason}"
            return
        self._max_packet = int(getattr(attached, "MaximumPacketSize", 0) or 0)
        self._most_in_flight = min(IN_FLIGHT, int(getattr(attached, "ReceiveMaximum", 0) or IN_FLIGHT))
        self.problem = ""
        self._session = self._session_mark(self._session_name, flags.session_present)
        if self._left:
            client.unsubscribe(list(self._left))
        client.subscribe(list(self._subscriptions))

    def _handle_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        """Only now is the station reachable: a command sent before the subscription stands would be lost."""
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            topics = ", ".join(topic for topic, _ in self._subscriptions)
            self._say(f"the broker refused a subscription to {topics} ({refused[0]}): check its access rules")
            return
        log.info("connected to %s as %s", self._where(), self._client_id)
        self._network.reports.clear()
        self._takeovers.stands()
        self._stands_since = time.monotonic()
        self.connected.set()
        _guarded(self._on_connect)

    def _handle_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        by_packet = bool(flags.is_disconnect_packet_from_server)
        self._closed_by_broker = by_packet or "eep alive" not in str(reason)
        if self._cause:
            return
        self._taken_over = by_packet and reason.value == SESSION_TAKEN_OVER
        if self._taken_over:
            self._cause = f"another client has taken the client id {self._client_id!r}"
        elif self.connected.is_set():
            said = f" ({reason})" if by_packet or not self._closed_by_broker else ""
            self._cause = f"the connection to {self._where()} is gone{said}"

    def _say(self, cause: str) -> None:
        self.problem = cause
        self._network.reports.say(cause)
        _guarded(lambda: self._on_trouble(cause))

    def _handle_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        attached = message.properties
        payload = bytes(message.payload)
        incoming = Message(
            topic=message.topic,
            payload=payload,
            qos=message.qos,
            retain=message.retain,
            response_topic=getattr(attached, "ResponseTopic", ""),
            correlation=getattr(attached, "CorrelationData", None),
            expiry_s=getattr(attached, "MessageExpiryInterval", None),
            user=dict(getattr(attached, "UserProperty", [])),
            acknowledge=self._acknowledgements.take(message.mid, message.qos, len(payload)),
            packet_id=message.mid,
            dup=message.dup,
            session=self._session,
        )
        _guarded(lambda: self._on_message(incoming))

    def _handle_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        """Holds paho's lock, as `publish` does: what it hands over is known here."""
        message = self._in_flight.pop(mid, None)
        if message is None:
            return
        self._answered = True
        if reason.is_failure:
            _guarded(lambda: message.ended(Ending("refused", str(reason), reason.value)))
        else:
            _guarded(lambda: message.ended(Ending("acknowledged")))

    def _unreadable(self, topic: str, why: str) -> None:
        self._counters.add("messages_unreadable")
        log.error("a message on %s cannot be read and is dropped: %s", topic[:DROPPED_NAMED], why)

    def _where(self) -> str:
        return f"{self._config.host}:{self._config.port}"


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # must not reach paho: it would end the network thread
        log.exception("a message could not be handled")


def _no_delay(_client: paho.Client, _data: Any, sock: Any) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, AttributeError):
        log.debug("TCP_NODELAY could not be set")


def _will_properties() -> Properties:
    attached = properties(PacketTypes.WILLMESSAGE)
    attached.WillDelayInterval = WILL_DELAY_S
    attached.ContentType = "text/plain"
    return attached
