"""Shared subscriptions: their topics, and a broker that says that it has none."""

from __future__ import annotations

import threading

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.topics import GroupTopics
from tests.support.raw_broker import RawBroker
from tests.support.wait import LIMIT_S

WITHOUT_SHARED = b"\x20\x05\x00\x00\x02\x2a\x00"
"""A CONNACK whose property 0x2A, Shared Subscription Available, is 0."""


def test_topics_of_a_group() -> None:
    topics = GroupTopics("acme/groups/line-3", "line-3")
    assert topics.subscriptions() == [
        ("$share/lineside-line-3/acme/groups/line-3/frame/+", 1),
        ("$share/lineside-line-3/acme/groups/line-3/cmd/+", 1),
    ]
    assert topics.parse(topics.frame("cam0")) == ("frame", "cam0")
    assert topics.parse(topics.command("ask")) == ("cmd", "ask")
    assert topics.parse("acme/groups/line-3/confirm/stop") is None
    assert topics.parse(topics.member("a")) is None
    assert topics.member_of(topics.member("a")) == "a"
    assert topics.member_of(topics.frame("cam0")) == ""


def test_a_broker_without_shared_subscriptions_is_named() -> None:
    causes: list[str] = []
    said = threading.Event()

    def note(cause: str) -> None:
        causes.append(cause)
        said.set()

    with RawBroker([], WITHOUT_SHARED) as broker:
        connection = Connection(
            MqttConfig(host="127.0.0.1", port=broker.port),
            "a-group",
            "",
            GroupTopics("lineside/groups/g", "g").subscriptions(),
            lambda _message: None,
            lambda: None,
            Counters(),
            session_mark=lambda _name, _present: "",
            degraded=Degraded(),
            on_trouble=note,
        )
        connection.start()
        assert said.wait(LIMIT_S)
        assert not connection.connected.is_set()
        connection.stop()
    where = f"127.0.0.1:{broker.port}"
    assert causes == [
        f"the broker at {where} says that it has no shared subscriptions, and a group needs them: take another broker, "
        "or `group.name` out of the station file"
    ]
