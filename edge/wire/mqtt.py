"""The connection to a broker: MQTT 5, or 3.1.1, on paho, with what paho leaves to its user.

paho is handed nothing but what is in flight: a message that is not acknowledged when the connection ends goes back to
whom it came from, who may send it again, with the time that it then has left. One that has passed its deadline in
flight is called back, by a reset that throws away what the socket still holds. Messages are acknowledged by hand, on
the connection that they came from or not at all. The broker's maximum packet size, which paho ignores, is kept.
TCP_NODELAY is set, since a QoS 1 round trip takes 88 ms without it.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import BrokerError, ConfigError, NotConnected, QueueFull, TooLarge
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.acknowledgements import Acknowledgements, Window
from lineside.edge.wire.brokers import Attempts
from lineside.edge.wire.causes import NO_SHARED, closed_without_a_word, explain, silent
from lineside.edge.wire.network import TICK_S, Again, Network
from lineside.edge.wire.paho_client import PahoClient, no_delay, packet_size, publish_properties, will_properties
from lineside.edge.wire.takeover import Takeovers
from lineside.edge.wire.traffic import Ending, Message
from lineside.edge.wire.trouble import Refused

log = logging.getLogger("lineside.mqtt")
IN_FLIGHT = 20
UNSUPPORTED_VERSION, SESSION_TAKEN_OVER = 0x84, 0x8E
LOGIN = (0x86, 0x87, 0x8C)
"""Bad user name or password, not authorized, bad authentication method."""
OLDER = (
    "the broker at {} has no MQTT 5: with 3.1.1 there is no correlation data, no expiry and no user property, and it "
    "does not say what it refuses"
)
WILL_DELAY_S = 5
SUSPICIOUS_S = 5.0
"""A connection that the broker closes so soon after a message may have been closed because of it."""
PROVED_S = 2.0
DROPPED_NAMED = 200


@dataclass(frozen=True)
class _InFlight:
    topic: str
    sent: float
    deadline: float | None
    kept: bool
    ended: Callable[[Ending], None]


def _ignore(_ending: Ending) -> None:
    """Of a message whose end interests nobody."""


class Connection:
    """A client that connects, stays connected, and hands messages to `on_message` on the network thread.

    Args:
        will_topic: where the broker says `offline` once the station is gone; nowhere where it is empty.
        leader: the connection whose broker this one goes to as well.
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
        leader: Connection | None = None,
    ) -> None:
        self._config, self._client_id = config, client_id
        self._subscriptions, self._left = subscriptions, left
        self._on_message, self._on_connect, self._on_trouble = on_message, on_connect, on_trouble
        self._counters = counters
        self._session_mark, self._session, self._cause = session_mark, "", ""
        self._degraded, self._refused = degraded, Refused(degraded, f"refused {client_id}", "they are lost")
        self._takeovers, self._taken_over = Takeovers(client_id, degraded), False
        self._max_packet, self._most_in_flight = 0, IN_FLIGHT
        self.connected = threading.Event()
        self.problem = ""
        self._answered, self._stands_since, self._connects = False, 0.0, 0
        self._stopping = self._closed_by_broker = self._greeted = False
        self._in_flight: dict[int, _InFlight] = {}
        self._network = Network(client_id, self)
        self._client = self._make_client(will_topic)
        self._window = window or Window()
        led_by = leader._attempts if leader is not None else None
        self._attempts: Attempts = Attempts(config, self._window.messages, led_by)
        self._acknowledgements = Acknowledgements(self._client.ack, self._window, self._network.wake)
        self._client.on_dropped = lambda mid, qos: self._acknowledgements.take(mid, qos, 0)()

    def _make_client(self, will_topic: str) -> PahoClient:
        path = self._config.websocket_path if self._config.transport == "websockets" else ""
        client = PahoClient(self._client_id, self._unreadable, self._network.wake, path)
        client.on_connect, client.on_disconnect = self._handle_connect, self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_message, client.on_publish = self._handle_message, self._handle_publish
        client.on_socket_open = no_delay
        if will_topic:
            client.will_set(will_topic, b"offline", qos=1, retain=True, properties=will_properties(WILL_DELAY_S))
        return client

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost. A broker that is down is waited for."""
        self._network.start(self._client)

    def stop(self) -> None:
        self._stopping = True
        self._takeovers.close()
        connected = self._client.socket() is not None
        self._network.stop(self._client.disconnect if connected else self._client.shut_down)

    def connect_now(self) -> None:
        """The broker is there: do not wait with the next attempt. What kept the last one from it is forgotten."""
        if not self.connected.is_set():
            self.problem = ""
            self._network.connect_now()
        elif self._attempts.astray:
            self.drop()

    def drop(self) -> None:
        """Cut the TCP connection without a goodbye, as a network outage would."""
        self._client.shut_down()

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
        kept: bool = False,
        ended: Callable[[Ending], None] = _ignore,
    ) -> None:
        """Send a message now. `ended` is called once with what became of it, on the network thread; for QoS 1 only.

        Args:
            expiry_s: after so long the broker throws it away.
            deadline: on `time.monotonic()`; where it has not been acknowledged then, it is called back.
            kept: whoever sends it keeps it, and says so, where the broker refuses it. Of another message it is said
                here, in `degraded`.

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
                self._in_flight[info.mid] = _InFlight(topic, time.monotonic(), deadline, kept, ended)
        if deadline is not None:
            self._network.wake()

    # What the network thread asks and tells

    def begin(self) -> None:
        self._closed_by_broker, self._cause, self._taken_over, self._greeted = False, "", False, False
        self._acknowledgements.begin_connection()
        self._client.aim(self._attempts.begin())

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

    def failed(self, error: Exception) -> Again:
        self._takeovers.unreachable()
        broker = self._attempts.broker
        self._say(str(error) if isinstance(error, ConfigError) else explain(error, broker.host, broker.port))
        return Again(at_once=self._attempts.ended(stood=False, unanswered=False) == "broker")

    def lost(self) -> Again:
        stood, proved, now = self.connected.is_set(), self.proved, time.monotonic()
        with self._client.lock:
            self.connected.clear()
            self._client.drop_out_messages()
            unacknowledged, self._in_flight = self._in_flight, {}
            self._answered = False
        self._acknowledgements.end_connection()
        for message in unacknowledged.values():
            suspicious = self._closed_by_broker and now - message.sent < SUSPICIOUS_S
            ending = Ending("lost", suspicious=suspicious, proved=proved, connection=self._connects)
            _guarded(partial(message.ended, ending))
        if self._stopping:
            return Again(stood)
        unanswered = self._closed_by_broker and not (self._greeted or isinstance(self._client.failure, ssl.SSLError))
        then = self._attempts.ended(stood=stood, unanswered=unanswered)
        if then == "version":
            return Again(at_once=True)
        self._say(self._cause or self._why_not())
        return Again(stood, then == "broker", self._takeovers.lost(self._taken_over, self._closed_by_broker))

    def _why_not(self) -> str:
        """Of a connection that ended before it stood."""
        broker, failure = self._attempts.broker, self._client.failure
        if isinstance(failure, ssl.SSLError):
            return explain(failure, broker.host, broker.port)
        if self._greeted:
            return f"the connection to {broker} is closed before it stands"
        if not self._closed_by_broker:
            return silent(broker.host, broker.port, self._config.keepalive_s)
        return closed_without_a_word(broker.host, broker.port, self._config.tls)

    # Callbacks, all on the network thread

    def _handle_connect(
        self, client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, attached: Properties | None
    ) -> None:
        self._greeted = True
        if reason.value == UNSUPPORTED_VERSION and self._client.version == 5:
            self._attempts.has_no_5()
            return
        if reason.is_failure:
            advice = "; check `mqtt.username`, its password and the access rules" if reason.value in LOGIN else ""
            self._cause = f"the broker at {self._attempts.broker} refused the connection: {reason}{advice}"
            return
        self._max_packet = int(getattr(attached, "MaximumPacketSize", 0) or 0)
        self._most_in_flight = min(IN_FLIGHT, int(getattr(attached, "ReceiveMaximum", 0) or IN_FLIGHT))
        self._session = self._session_mark(f"{self._client_id}@{self._attempts.broker}", flags.session_present)
        if not self._attempts.greeted():
            client.disconnect()
            return
        self.problem = ""
        shares = any(topic.startswith("$share/") for topic, _ in self._subscriptions)
        if shares and not getattr(attached, "SharedSubscriptionAvailable", 1):
            self._say(NO_SHARED.format(self._attempts.broker))
            return
        if self._left:
            client.unsubscribe(list(self._left))
        client.subscribe(list(self._subscriptions))

    def _handle_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        """Only now is the station reachable: a command sent before the subscription stands would be lost."""
        answers = zip(self._subscriptions, reasons, strict=False)
        refused = {topic: str(reason) for (topic, _), reason in answers if reason.is_failure}
        if refused:
            named = f"{', '.join(refused)} ({next(iter(refused.values()))})"
            cause = f"the broker refused a subscription to {named}: check its access rules"
            if len(refused) == len(self._subscriptions):
                self._say(cause)
                return
            self._degraded.set(f"subscription {self._client_id}", cause)
            log.error("%s", cause)
        else:
            self._degraded.clear(f"subscription {self._client_id}")
        self._say_version()
        self._network.reports.clear()
        self._takeovers.stands()
        self._stands_since = time.monotonic()
        self._connects += 1
        self.connected.set()
        _guarded(self._on_connect)

    def _handle_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        by_packet = bool(flags.is_disconnect_packet_from_server)
        self._closed_by_broker = by_packet or "eep alive" not in str(reason)
        if self._cause:
            return
        where = self._attempts.broker
        self._taken_over = by_packet and reason.value == SESSION_TAKEN_OVER
        if self._taken_over:
            self._cause = f"another client has taken the client id {self._client_id!r}"
        elif self.connected.is_set():
            said = f" ({reason})" if by_packet or not self._closed_by_broker else ""
            self._cause = f"the connection to {where} is gone{said}"

    def _say_version(self) -> None:
        key, broker = f"mqtt 3.1.1 {self._client_id}", self._attempts.broker
        if self._client.version == 5:
            self._degraded.clear(key)
        elif self._degraded.set(key, OLDER.format(broker)):
            log.warning("%s", OLDER.format(broker))
        log.info("connected to %s as %s", broker, self._client_id)

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
        if not message.kept:
            self._note_refusal(message.topic, reason)
        if reason.is_failure:
            _guarded(lambda: message.ended(Ending("refused", str(reason), reason.value)))
        else:
            _guarded(lambda: message.ended(Ending("acknowledged")))

    def _note_refusal(self, topic: str, reason: ReasonCode) -> None:
        if reason.is_failure:
            log.error("the broker refuses a message on %s (%s): it is lost", topic, reason)
            self._refused.add(topic, str(reason))
        else:
            self._refused.remove(topic)

    def _unreadable(self, topic: str, why: str) -> None:
        self._counters.add("messages_unreadable")
        log.error("a message on %s cannot be read and is dropped: %s", topic[:DROPPED_NAMED], why)


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # must not reach paho: it would end the network thread
        log.exception("a message could not be handled")
