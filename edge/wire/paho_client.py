"""paho's client, mended where one message would cost it the connection.

paho 2.2 ends the connection at a PUBLISH that it cannot decode: U+FEFF or NUL in a property, a property that is not
UTF-8, an unknown one, one that comes twice. The broker sends such a message again at each reconnect, for ever. Here
that one message is dropped, and acknowledged as the broker expects; so is one with a topic that is not UTF-8, at which
a callback would raise. Of a PUBACK whose reason string cannot be read, the reason code is.

Everything that reaches into paho's own attributes is in this module.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: what the socket still holds is thrown away, not sent."""


@dataclass(frozen=True)
class Attempt:
    """What the next connection is made with. In 3.1.1 a session that is kept at all is kept for ever.

    Attributes:
        version: 5, or 4 for 3.1.1.
        tls: None where nothing is encrypted.
        clean: whether a session that the broker still has is thrown away first.
    """

    host: str
    port: int
    version: Literal[5, 4]
    keepalive_s: int
    session_expiry_s: int
    receive_maximum: int
    username: str
    password: str | None
    tls: ssl.SSLContext | None
    clean: bool = False


class PahoClient(paho.Client):
    """Acknowledged by hand, served by a loop of our own; it holds no queue.

    Args:
        unreadable: told the topic and the reason of a message that was dropped.
        wake: called, on any thread, when there is something to write.
        websocket_path: where it connects by websockets; empty for TCP.

    Attributes:
        failure: what ended the connection, where the socket said so.
        on_dropped: acknowledges a message that was dropped, by packet id and QoS.
    """

    def __init__(
        self,
        client_id: str,
        unreadable: Callable[[str, str], None],
        wake: Callable[[], None],
        websocket_path: str = "",
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None,
            protocol=paho.MQTTv5,
            transport="websockets" if websocket_path else "tcp",
            reconnect_on_failure=False,  # or it would go down to MQTT 3.1 by itself
            manual_ack=True,
        )
        if websocket_path:
            self.ws_set_options(websocket_path)
        self.failure: OSError | None = None
        self._made: socket.socket | None = None
        self._unreadable, self._wake = unreadable, wake
        self.on_dropped: Callable[[int, int], object] = self.ack
        self.on_socket_register_write = lambda *_: None  # nobody but our loop writes
        self.max_inflight_messages_set(0)

    def aim(self, at: Attempt) -> None:
        """Set what the next `reconnect` connects to."""
        self.failure = None
        self._protocol = MQTTProtocolVersion(at.version)
        self._ssl, self._ssl_context, self._tls_insecure = at.tls is not None, at.tls, False
        self._clean_session = at.session_expiry_s == 0
        self.username_pw_set(at.username or None, at.password if at.username else None)
        attached = properties(PacketTypes.CONNECT)
        attached.SessionExpiryInterval, attached.ReceiveMaximum = at.session_expiry_s, at.receive_maximum
        self.connect_async(at.host, at.port, keepalive=at.keepalive_s, clean_start=at.clean, properties=attached)

    @property
    def version(self) -> int:
        return int(self._protocol)

    @property
    def lock(self) -> threading.RLock:
        """Held by paho while it calls back about a message that was sent."""
        return self._out_message_mutex

    def forget(self, mid: int) -> None:
        """Do not send a message that could not be sent at once."""
        with self._out_message_mutex:
            self._out_messages.pop(mid, None)

    def reset(self) -> None:
        """Cut the connection, and throw away what the socket has not sent yet."""
        sock = self._sock
        if sock is None:
            return
        plain_socket(sock).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._sock_close()

    def shut_down(self) -> None:
        """Cut the connection without a goodbye, as a network outage would, also in its handshake; from any thread."""
        sock = self._sock or self._made
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(plain_socket(sock), socket.SHUT_RDWR)  # an SSL socket's own forgets its keys

    def excuse_silence(self) -> None:
        """Nothing is read at the moment, so that nothing is heard: that is no sign of a broken connection."""
        self._ping_t = 0.0
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()

    def has_pending(self) -> bool:
        """Whether the TLS layer holds bytes that no poll of the socket shows."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and pending() > 0

    # What paho calls

    def _create_socket(self) -> Any:
        """paho leaves a socket open whose handshake fails."""
        try:
            return super()._create_socket()
        except BaseException:
            if self._made is not None:
                self._made.close()
            raise
        finally:
            self._made = None

    def _create_socket_connection(self) -> socket.socket:
        self._made = super()._create_socket_connection()
        return self._made

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        if self._ssl_context is None:
            raise RuntimeError("aim() has not been called")
        self._made = encrypted = self._ssl_context.wrap_socket(
            tcp_sock, server_hostname=self._host, do_handshake_on_connect=False
        )
        encrypted.settimeout(self._connect_timeout)
        encrypted.do_handshake()
        return encrypted

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            return super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.failure = self.failure or error
            raise

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self.failure = self.failure or error
            raise

    def _packet_queue(self, *args: Any, **options: Any) -> MQTTErrorCode:
        result = super()._packet_queue(*args, **options)
        self._wake()
        return result

    def _handle_publish(self) -> MQTTErrorCode:
        try:
            return super()._handle_publish()
        except MalformedPacket as error:
            envelope = _envelope(self._in_packet["command"], bytes(self._in_packet["packet"]))
            if envelope is None:
                raise
            topic, qos, mid = envelope
            return self._drop(topic, qos, mid, str(error))

    def _handle_on_message(self, message: paho.MQTTMessage) -> None:
        try:
            message.topic  # noqa: B018 - decodes
        except UnicodeDecodeError:
            self._drop(message._topic.decode("utf-8", "replace"), message.qos, message.mid, "a topic that is not UTF-8")
            return
        super()._handle_on_message(message)

    def _drop(self, topic: str, qos: int, mid: int, why: str) -> MQTTErrorCode:
        self._unreadable(topic, why)
        if qos:
            self.on_dropped(mid, qos)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        try:
            return super()._handle_pubackcomp(cmd)
        except MalformedPacket:
            self._in_packet["packet"] = self._in_packet["packet"][:3]  # the message's number and the reason code
            return super()._handle_pubackcomp(cmd)


def _envelope(header: int, packet: bytes) -> tuple[str, int, int] | None:
    """Topic, QoS and packet id of a PUBLISH, without its properties; None where not even they can be read."""
    qos = (header & 0x06) >> 1
    try:
        (length,) = struct.unpack_from("!H", packet)
        topic = packet[2 : 2 + length].decode("utf-8", "replace")
        (mid,) = struct.unpack_from("!H", packet, 2 + length) if qos else (0,)
    except struct.error:
        return None
    return topic, qos, mid


def plain_socket(sock: Any) -> socket.socket:
    """The one beneath a websocket."""
    return sock if isinstance(sock, socket.socket) else sock._socket


def properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def no_delay(_client: paho.Client, _data: Any, sock: Any) -> None:
    with suppress(OSError):
        plain_socket(sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def will_properties(delay_s: int) -> Properties:
    attached = properties(PacketTypes.WILLMESSAGE)
    attached.WillDelayInterval, attached.ContentType = delay_s, "text/plain"
    return attached


def publish_properties(content_type: str, correlation: bytes | None, expiry_s: float | None) -> Properties:
    """Of a PUBLISH; a message that has less than a second to live gets one."""
    made = properties(PacketTypes.PUBLISH)
    made.ContentType = content_type
    if correlation is not None:
        made.CorrelationData = correlation
    if expiry_s is not None:
        made.MessageExpiryInterval = max(int(expiry_s), 1)
    return made


def packet_size(topic: str, payload: bytes, attached: Properties) -> int:
    """Bytes of a PUBLISH with a packet id, as the broker counts them."""
    packed = attached.pack()  # type: ignore[no-untyped-call]
    rest = 2 + len(topic.encode("utf-8", "replace")) + 2 + len(packed) + len(payload)
    return 1 + len(VariableByteIntegers.encode(rest)) + rest  # type: ignore[no-untyped-call]
