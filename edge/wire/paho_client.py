"""paho's client, mended where one message would cost it the connection.

paho 2.2 ends the connection at a PUBLISH that it cannot decode: U+FEFF or NUL in a property, a property that is not
UTF-8, an unknown one, one that comes twice. The broker sends such a message again at each reconnect, for ever. Here
that one message is dropped, and acknowledged as the broker expects; so is one with a topic that is not UTF-8, at which
a callback would raise. Of a PUBACK whose reason string cannot be read, the reason code is.

Everything that reaches into paho's own attributes is in this module.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: what the socket still holds is thrown away, not sent."""


class PahoClient(paho.Client):
    """MQTT 5, acknowledged by hand, served by a loop of our own; it holds no queue.

    Args:
        unreadable: told the topic and the reason of a message that was dropped.
        wake: called, on any thread, when there is something to write.

    Attributes:
        on_dropped: acknowledges a message that was dropped, by packet id and QoS.
    """

    def __init__(self, client_id: str, unreadable: Callable[[str, str], None], wake: Callable[[], None]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
        self._unreadable, self._wake = unreadable, wake
        self.on_dropped: Callable[[int, int], object] = self.ack
        self.on_socket_register_write = lambda *_: None  # nobody but our loop writes
        self.max_inflight_messages_set(0)

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
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._sock_close()

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


def properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


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
