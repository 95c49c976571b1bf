"""A message that cannot be read costs itself, and nothing else: neither the connection nor what waits behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lineside.edge.wire.traffic import Ending
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.line import Line
from tests.support.raw_broker import RawBroker, publish

POISON = {"name": "a\ufeffb"}


@pytest.fixture
def sender(broker: Mosquitto) -> Iterator[Client]:
    """It subscribes to nothing that it sends: paho cannot read it."""
    connected = Client(broker.port, "nothing")
    yield connected
    connected.close()


def test_live(broker: Mosquitto, sender: Client) -> None:
    with Line(broker.port) as line:
        line.wait_online()
        for text, user in (("before", {}), ("poison", POISON), ("after", {})):
            sender.publish("in/x", text, user=user)
        line.wait_for(b"before", b"after")
        assert line.stands == 1
        assert line.counters.snapshot() == {"messages_unreadable": 1}


def test_retained(broker: Mosquitto, sender: Client) -> None:
    sender.publish("in/x", "poison", user=POISON, retain=True)
    with Line(broker.port) as line:
        line.wait_online()
        sender.publish("in/y", "after")
        line.wait_for(b"after")
        assert line.stands == 1


def test_waiting_in_the_session(broker: Mosquitto, sender: Client) -> None:
    """Between two others; and it is acknowledged, so that the next connection does not get it again."""
    with Line(broker.port) as line:
        line.wait_online()
    for text, user in (("before", {}), ("poison", POISON), ("after", {})):
        sender.publish("in/x", text, user=user)
    with Line(broker.port) as line:
        line.wait_for(b"before", b"after")
        line.wait_online()
        assert line.stands == 1
    with Line(broker.port) as line:
        sender.publish("in/x", "last")
        line.wait_for(b"last")
        assert line.counters.snapshot() == {}


GOOD = b"\x03\x00\x01t"  # content type
BAD = {
    "U+FEFF in the content type": b"\x03\x00\x03\xef\xbb\xbf",
    "NUL in the response topic": b"\x08\x00\x01\x00",
    "half a surrogate pair": b"\x26\x00\x01k\x00\x03\xed\xa0\x80",
    "no UTF-8": b"\x26\x00\x01k\x00\x02\xff\xfe",
    "an unknown property": b"\x7f\x01",
    "a property of CONNECT": b"\x11\x00\x00\x00\x01",
    "twice": GOOD + GOOD,
    "a string that is longer than the properties": b"\x03\x00\x90t",
    "cut off": b"\x02\x00",
    "a payload format that there is none of": b"\x01\x07",
    "topic alias 0": b"\x23\x00\x00",
}


@pytest.mark.parametrize("name", BAD)
def test_whatever_is_wrong_with_its_properties(name: str) -> None:
    packets = [publish(b"in/x", number, attached) for number, attached in enumerate((GOOD, BAD[name], GOOD), 1)]
    with (
        RawBroker(packets) as broker,
        Line(broker.port) as line,
    ):
        assert broker.wait_for([1, 2, 3]), broker.acknowledged
        assert broker.connections == 1
        line.wait_for(b"x", b"x")
        assert line.counters.snapshot() == {"messages_unreadable": 1}


@pytest.mark.parametrize("topic", [b"in/\xff\xfe", b"in/\xed\xa0\x80", b"\xc3"])
def test_a_topic_that_is_no_text(topic: bytes) -> None:
    with RawBroker([publish(topic, 7, GOOD), publish(b"in/x", 8, GOOD)]) as broker, Line(broker.port) as line:
        assert broker.wait_for([7, 8]), broker.acknowledged
        assert broker.connections == 1
        line.wait_for(b"x")


@pytest.mark.parametrize("topic", [b"", b"in/+", b"#", b"in/\xef\xbb\xbf"])
def test_a_strange_topic_is_its_handlers_business(topic: bytes) -> None:
    with RawBroker([publish(topic, 7, GOOD), publish(b"in/x", 8, GOOD)]) as broker, Line(broker.port) as line:
        assert broker.wait_for([7, 8]), broker.acknowledged
        assert broker.connections == 1
        line.wait_for(b"x", b"x")


def test_a_refusal_with_a_reason_that_cannot_be_read_is_a_refusal() -> None:
    endings: list[Ending] = []
    with RawBroker([]) as broker, Line(broker.port) as line:
        line.wait_online()
        line.connection.publish("out", b"x", ended=endings.append)
        with line.connection._client.lock:
            (mid,) = line.connection._in_flight
        broker.send(b"\x40\x0a" + mid.to_bytes(2, "big") + b"\x87\x06\x1f\x00\x03\xef\xbb\xbf")
        line.wait_until(lambda: bool(endings), "no ending")
        assert (endings[0].kind, endings[0].code) == ("refused", 0x87)
        assert broker.connections == 1
