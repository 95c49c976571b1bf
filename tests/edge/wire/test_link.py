"""The connection over a line with faults: what is acknowledged, what is called back, why there is none."""

from __future__ import annotations

import dataclasses
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.errors import NotConnected, TooLarge
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.acknowledgements import Window
from lineside.edge.wire.causes import Reports, explain
from lineside.edge.wire.traffic import Ending
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.line import Line
from tests.support.packets import published_topic
from tests.support.proxy import Proxy

MANY = 6
"""More attempts than it once took to throw a session away."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.takeover.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.takeover.LONGEST_GUESSED_WAIT_S", 0.2)
    monkeypatch.setattr("lineside.edge.wire.network.LONGEST_WAIT_S", 0.2)


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[Proxy]:
    between = Proxy(broker.port)
    yield between
    between.close()


def test_a_forwarder_that_accepts_and_closes_costs_no_message(client: Client, proxy: Proxy) -> None:
    with Line(proxy.port) as line:
        line.wait_online()
        proxy.refuses = True
        proxy.cut()
        client.publish("in/x", "waits")
        line.wait_until(lambda: proxy.accepted > MANY, "too few attempts")
        proxy.refuses = False
        line.wait_for(b"waits")


def test_a_connection_that_ends_in_the_middle_of_its_greeting_costs_no_message(client: Client, proxy: Proxy) -> None:
    with Line(proxy.port) as line:
        line.wait_online()
        proxy.judge = lambda packet: b"" if packet[0] & 0xF0 == 0x80 else None  # at the SUBSCRIBE
        line.acknowledges = False
        client.publish("in/x", "waits")
        line.wait_for(b"waits")
        proxy.cut()
        line.wait_until(lambda: proxy.accepted > MANY, "too few attempts")
        proxy.judge = None
        line.wait_online(2)
        line.wait_until(lambda: len(line.received) >= MANY, "not sent again")
        assert {message.payload for message in line.received} == {b"waits"}


def test_a_password_that_is_wrong_for_a_while_costs_no_message(broker: Mosquitto) -> None:
    broker.stop()
    broker.restart_with_password("line", "right")
    sender = Client(broker.port, "nothing", username="line", password="right")
    right = MqttConfig(host="127.0.0.1", port=broker.port, username="line", password="right")  # type: ignore[arg-type]
    with Line(broker.port, config=right) as line:
        line.wait_online()
    sender.publish("in/x", "waits")
    with Line(broker.port, config=dataclasses.replace(right, password="wrong")) as line:  # type: ignore[arg-type]
        line.wait_until(lambda: len(line.causes) >= MANY, "too few attempts")
        assert "refused the connection: Not authorized" in line.connection.problem
    with Line(broker.port, config=right) as line:
        line.wait_for(b"waits")
    sender.close()


def test_a_late_acknowledgement_acknowledges_no_other_message(broker: Mosquitto) -> None:
    """The broker loses its sessions, and uses the packet id again."""
    with Line(broker.port, acknowledges=False) as line:
        line.wait_online()
        sender = Client(broker.port, "nothing")
        sender.publish("in/x", "old")
        (old,) = line.wait_for(b"old")
        sender.close()
        broker.stop()
        broker.start()
        line.wait_online(2)
        sender = Client(broker.port, "nothing")
        sender.publish("in/x", "new")
        line.wait_for(b"old", b"new")
        old.acknowledge()
        endings: list[Ending] = []
        line.connection.publish("out/x", b"behind it", ended=endings.append)
        line.wait_until(lambda: bool(endings), "no ending")
        line.connection.drop()
        line.wait_for(b"old", b"new", b"new")  # not acknowledged: sent again
        line.received[2].acknowledge()
        sender.publish("in/x", "last")
        line.wait_for(b"old", b"new", b"new", b"last")
        sender.close()


def test_no_more_is_read_than_may_wait(broker: Mosquitto) -> None:
    """The connection stays alive over its keepalive meanwhile, and takes up again where it stopped."""
    sender = Client(broker.port, "nothing")
    config = MqttConfig(host="127.0.0.1", port=broker.port, keepalive_s=5)
    with Line(broker.port, acknowledges=False, window=Window(messages=3), config=config) as line:
        line.wait_online()
        for number in range(30):
            sender.publish("in/x", str(number))
        line.wait_for(b"0", b"1", b"2")
        time.sleep(11)  # the broker hangs up after one and a half keepalives
        line.wait_for(b"0", b"1", b"2")
        for number in range(30):
            line.wait_until(lambda n=number: len(line.received) > n, "does not go on")  # type: ignore[misc]
            assert len(line.received) <= number + 3
            line.received[number].acknowledge()
        line.wait_for(*(str(number).encode() for number in range(30)))
        assert line.stands == 1
    sender.close()


def test_of_large_messages_fewer_may_wait(broker: Mosquitto) -> None:
    sender = Client(broker.port, "nothing")
    with Line(broker.port, acknowledges=False, window=Window(bytes=1000)) as line:
        line.wait_online()
        for letter in "abc":
            sender.publish("in/x", letter * 600)
        line.wait_for(b"a" * 600, b"b" * 600)
        line.received[0].acknowledge()
        line.wait_for(b"a" * 600, b"b" * 600, b"c" * 600)
    sender.close()


def test_what_hangs_on_the_line_past_its_deadline_never_arrives(client: Client, proxy: Proxy) -> None:
    """The bytes have left for a line that stalls. It recovers after the deadline; only what is still of use arrives."""
    with Line(proxy.port) as line:
        line.wait_online()
        endings: list[Ending] = []
        proxy.to_broker.clear()
        line.connection.publish("call/stop", b"late", deadline=time.monotonic() + 0.5, ended=endings.append)
        line.wait_until(lambda: bool(endings), "not called back")
        assert endings == [Ending("lost")]
        line.wait_until(lambda: bool(line.causes), "not said why")
        assert "not acknowledged in its time" in line.causes[0]
        proxy.to_broker.set()
        line.wait_online(2)
        line.connection.publish("call/stop", b"in time", deadline=time.monotonic() + 20, ended=endings.append)
        line.wait_until(lambda: len(endings) == 2, "no second ending")
        assert endings[1].kind == "acknowledged"
        assert [message.payload for message in client.on("call/stop")] == [b"in time"]
        assert line.counters.snapshot() == {"messages_called_back": 1}


def test_what_a_lost_connection_had_in_flight_is_not_sent_again_by_itself(client: Client, proxy: Proxy) -> None:
    """Whose message it is decides that; here it does not want it any more."""
    with Line(proxy.port) as line:
        line.wait_online()
        endings: list[Ending] = []
        proxy.judge = lambda packet: b"" if published_topic(packet) else None
        line.connection.publish("out/x", b"gone", ended=endings.append)
        line.wait_until(lambda: bool(endings), "no ending")
        proxy.judge = None
        line.wait_online(2)
        line.connection.publish("out/x", b"next")
        assert client.on("out/x")[0].payload == b"next"
        assert endings[0].kind == "lost"


def test_nothing_is_handed_over_without_a_connection(broker: Mosquitto) -> None:
    line = Line(broker.port)
    with pytest.raises(NotConnected):
        line.connection.publish("out/x", b"x")


@pytest.mark.parametrize("correlation", [None, b"c" * 60])
@pytest.mark.parametrize("size", [2000, 200_000])
def test_the_packet_limit_is_met_exactly(tmp_path: Path, size: int, correlation: bytes | None) -> None:
    """With its topic, properties and the bytes that its own length takes: one more byte is refused here, before it is
    sent; that many the broker takes.
    """
    broker = Mosquitto(tmp_path, max_packet=size)
    with Line(broker.port) as line:
        line.wait_online()
        topic = "out/" + "t" * 40
        room = line.connection.room(topic, "application/json", correlation)
        assert room is not None
        largest = room
        endings: list[Ending] = []
        while True:
            try:
                line.connection.publish(
                    topic, bytes(largest), correlation=correlation, expiry_s=30, ended=endings.append
                )
            except TooLarge:
                break
            largest += 1
            line.wait_until(lambda: len(endings) == largest - room, "no ending")  # noqa: B023
        assert {ending.kind for ending in endings} == {"acknowledged"}
        assert len(endings) <= 4
        assert line.stands == 1
    broker.stop()


# Causes


def test_causes_are_named() -> None:
    def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_code, error.verify_message = code, message
        return error

    for error, words in (
        (socket.gaierror(-2, "Name or service not known"), ("'plant'", "not found")),
        (UnicodeError("label empty or too long"), ("'plant'", "not found")),
        (verification(10, "certificate has expired"), ("TLS", "certificate has expired", "renew")),
        (verification(62, "Hostname mismatch"), ("TLS", "Hostname mismatch", "another name")),
        (ssl.SSLError(1, "wrong version number"), ("TLS", "TLS port")),
        (TimeoutError("timed out"), ("timed out",)),
        (ConnectionRefusedError(111, "Connection refused"), ("refused", "nothing listens")),
        (OSError(113, "No route to host"), ("No route to host",)),
    ):
        sentence = explain(error, "plant", 8883)
        assert [word for word in words if word not in sentence] == [], sentence


def test_a_name_that_does_not_exist_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """At once, and though it is tried again and again only once."""
    with Line(1883, config=MqttConfig(host="no-such-broker.invalid")) as line:
        line.wait_until(lambda: len(line.causes) >= 3, "too few attempts")
    assert "'no-such-broker.invalid' of the broker is not found" in line.connection.problem
    assert len([record for record in caplog.records if "not found" in record.message]) == 1


def test_a_port_where_nothing_listens_is_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with Line(port) as line:
        line.wait_until(lambda: bool(line.causes), "no cause")
    assert "refused, so nothing listens there" in line.causes[0]


def test_the_same_cause_is_said_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("lineside.edge.wire.causes.time.monotonic", lambda: now[0])
    reports = Reports(logging.getLogger("lineside.mqtt"))
    for second in range(0, 130, 5):
        now[0] = 1000.0 + second
        reports.say("refused")
        if second == 30:
            reports.say("timed out")
    said = [record.message.partition(";")[0] for record in caplog.records]
    assert said == [
        "refused",
        "timed out",
        "refused",
        "refused",
    ]
