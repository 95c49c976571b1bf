"""`degraded` follows what happens: `info` is published anew, retained, whenever it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lineside.edge.daemon import Daemon
from lineside.edge.degraded import Degraded
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.proxy import Proxy
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S


def test_only_a_change_is_a_change() -> None:
    degraded = Degraded()
    degraded.clear("camera cam0")
    assert not degraded.changed.is_set()
    for key, sentence in (
        ("camera cam0", "cam0 is dark"),
        ("broker", "the broker is full"),
        ("camera cam0", "cam0 died"),
    ):
        degraded.changed.clear()
        degraded.set(key, sentence)
        assert degraded.changed.is_set()
    assert degraded.sentences() == ["cam0 died", "the broker is full"]
    degraded.changed.clear()
    degraded.set("broker", "the broker is full")
    assert not degraded.changed.is_set()
    degraded.clear("broker")
    assert degraded.changed.is_set()
    assert degraded.sentences() == ["cam0 died"]


def says(*sentences: str) -> Callable[[Received], bool]:
    return lambda message: message.topic == TOPICS.info and message.json()["degraded"] == list(sentences)


def test_several_info_lost_with_one_connection_are_not_too_large(
    broker: Mosquitto, client: Client, tmp_path: Path
) -> None:
    """A connection that breaks soon after three of them is one that broke, not three that were closed over `info`."""
    link = Proxy(broker.port)
    said = ("a", "b", "c")
    with Daemon(station(broker.port, tmp_path, port=link.port)) as daemon:
        client.wait_for(says())
        assert daemon.wait_online(LIMIT_S)
        link.lose_down = True  # none is acknowledged
        for count, sentence in enumerate(said, 1):
            daemon.degraded.set(sentence, sentence)
            client.wait_for(says(*said[:count]))
        link.cut()
        client.wait_for(says(*said), count=2)
        daemon.degraded.set("d", "d")
        client.wait_for(says(*said, "d"))
    link.close()


def test_info_is_published_anew_when_degraded_changes(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """From any thread; and what changes while the broker is away is said when it is back."""
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(10)
        client.wait_for(says())
        threading.Thread(target=daemon.degraded.set, args=("camera cam0", "cam0 gives no pictures")).start()
        client.wait_for(says("cam0 gives no pictures"))
        daemon.connection.drop()
        daemon.degraded.set("broker", "twice there")
        client.wait_for(says("cam0 gives no pictures", "twice there"))
        daemon.degraded.clear("camera cam0")
        client.wait_for(says("twice there"))
        daemon.degraded.clear("broker")
        client.wait_for(says(), count=2)
        late = Client(broker.port, TOPICS.info)
        assert late.wait_for(lambda message: message.retain)[0].json()["degraded"] == []
        late.close()
