"""A member that goes leaves its share to the others, and takes it back when it returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from lineside.edge.commands.inbox import Commands
from lineside.edge.config import Config, StationConfig
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.camera_watch import CameraWatch
from lineside.edge.frames.intake import FrameIntake
from lineside.edge.group_config import GroupConfig
from lineside.edge.group_link import GroupLink
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire import heirs
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.topics import GroupTopics
from lineside.edge.wire.traffic import Message
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.line import Line
from tests.support.wait import until

GROUP = GroupTopics("lineside/groups/g", "g")


class Member:
    """Takes what comes, and acknowledges it where it is told to."""

    def __init__(self, name: str, port: int, leader: Connection, *, acknowledges: bool) -> None:
        self.received: list[Message] = []
        self.acknowledges, self.degraded = acknowledges, Degraded()
        config = Config(
            StationConfig(name), MqttConfig(host="127.0.0.1", port=port), group=GroupConfig("g"), folder=Path()
        )
        self.link = GroupLink(
            config,
            f"lineside-{name}",
            cast(FrameIntake, self),
            cast(Commands, self),
            cast(CameraWatch, self),
            threading.Event().set,
            Counters(),
            self.degraded,
            lambda _name, _present: "",
            leader,
        )
        self.link.start()
        assert self.link.connection is not None
        self.connection = self.link.connection
        until(self.connection.connected.is_set)

    @property
    def frames(self) -> list[str]:
        return [message.payload.decode() for message in self.received]

    def arrived(self, _camera: str) -> None: ...

    def accept(self, _name: str, message: Message, *, shared: bool) -> None:
        assert shared
        self.received.append(message)
        if self.acknowledges:
            message.acknowledge()


Join = Callable[..., Member]


@pytest.fixture
def join(broker: Mosquitto) -> Iterator[Join]:
    members: list[Member] = []
    with Line(broker.port) as line:
        line.wait_online()

        def make(name: str, *, acknowledges: bool = True) -> Member:
            members.append(Member(name, broker.port, line.connection, acknowledges=acknowledges))
            return members[-1]

        yield make
        for member in members:
            member.link.close()


def send(client: Client, *names: str) -> None:
    for name in names:
        client.publish(GROUP.frame("cam0"), name)


def test_each_message_goes_to_one_member_and_a_window_is_small(join: Join, client: Client) -> None:
    free, busy = join("a"), join("b", acknowledges=False)
    send(client, *"012345")
    until(lambda: len(free.frames) == 3)
    until(lambda: len(busy.frames) == 2)
    assert not set(free.frames) & set(busy.frames)


def test_the_rules_that_it_needs(broker: Mosquitto, client: Client, join: Join) -> None:
    """As docs/many-stations.md has them: none of them names `$share`."""
    rules = "".join(f"topic readwrite {topic}\n" for topic in (GROUP.frame("+"), GROUP.command("+"), GROUP.member("+")))
    broker.restrict(rules)
    member = join("a")
    send(client, "1")
    until(lambda: member.frames == ["1"])
    until(lambda: [m for m in client.received if m.topic == GROUP.member("lineside-a-group")])


def test_one_that_stops_leaves_its_share(join: Join, client: Client) -> None:
    heir, busy = join("b"), join("a", acknowledges=False)
    send(client, *"012345")
    until(lambda: len(heir.frames) == 3)
    busy.link.close()
    until(lambda: set(heir.frames) == set("012345"))
    member = GROUP.member("lineside-a-group")
    client.wait_for(lambda message: (message.topic, message.payload) == (member, b""))
    send(client, *"6789")
    until(lambda: set(heir.frames) == set("0123456789"))


def test_an_heir_that_is_slow_takes_all(join: Join, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it took up waits for its answer for longer than a session may be silent."""
    monkeypatch.setattr(heirs, "IDLE_S", 1.0)
    heir, busy = join("b"), join("a", acknowledges=False)
    send(client, *"01234567")
    until(lambda: (len(heir.frames), len(busy.frames)) == (4, 2))
    heir.acknowledges = False
    busy.link.close()
    until(lambda: len(heir.frames) == 6)
    heir.received[4].acknowledge()
    until(lambda: len(heir.frames) == 7)
    threading.Event().wait(2 * heirs.IDLE_S + heirs.LOOK_S)
    heir.acknowledges = True
    for message in heir.received[5:]:
        message.acknowledge()
    until(lambda: set(heir.frames) == set("01234567"))


def test_one_that_returns_takes_it_back(join: Join, client: Client) -> None:
    """The heir has not answered what it took up."""
    heir, busy = join("b"), join("a", acknowledges=False)
    send(client, *"012345")
    until(lambda: (len(heir.frames), len(busy.frames)) == (3, 2))
    heir.acknowledges = False
    busy.link.close()
    until(lambda: len(heir.frames) == 5)
    back = join("a")
    until(lambda: len(back.frames) == 3)
    assert set(busy.frames) < set(back.frames)
    assert back.degraded.sentences() == heir.degraded.sentences() == []


def test_a_station_in_no_group() -> None:
    nobody = cast(Connection, None)
    frames, commands, watch = cast(FrameIntake, None), cast(Commands, None), cast(CameraWatch, None)
    changed, said = threading.Event().set, Degraded()
    link = GroupLink(
        Config(), "lineside-a", frames, commands, watch, changed, Counters(), said, lambda _name, _present: "", nobody
    )
    link.start()
    assert link.settled
    link.close()
