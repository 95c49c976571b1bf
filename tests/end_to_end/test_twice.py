"""What is delivered twice is done once: the link fails beneath the live connection, the broker delivers again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.config import CommandConfig
from lineside.edge.daemon import Daemon
from lineside.edge.history_config import HistoryConfig
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.scheduler import Request
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.proxy import Proxy
from tests.support.small import small_picture
from tests.support.station import TOOLS, TOPICS, station
from tests.support.wait import LIMIT_S, until

PICTURE = small_picture()
STOP = {"stop_line": dataclasses.replace(TOOLS["stop_line"], wait_s=0.0)}


@pytest.fixture(autouse=True)
def _obedient(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the model's place: every command stops the line."""

    def answer(*_args: object, **_options: object) -> Answer:
        return Answer("", (ToolCall(new_call_id(), "stop_line", {}),), "stop", Timings(), Counts())

    monkeypatch.setattr("lineside.runtime.commands.decide.ask", answer)


class Link(Proxy):
    """To `broker`."""

    def __init__(self, broker: Mosquitto) -> None:
        super().__init__(broker.port)
        self.broker = broker


@pytest.fixture
def link(broker: Mosquitto) -> Iterator[Link]:
    proxy = Link(broker)
    yield proxy
    proxy.close()


def start(link: Link, folder: Path) -> Daemon:
    """A station behind the link, whose commands live a second."""
    return Daemon(station(link.broker, folder, port=link.port, tools=STOP, commands=CommandConfig(expiry_s=1)))


def half_open(link: Link, daemon: Daemon) -> None:
    """What the daemon sends vanishes from now on; nothing of before waits for an answer, which would end the link."""
    assert daemon.outbox.drain(LIMIT_S)
    link.lose_up = True


def counted(daemon: Daemon, name: str) -> int:
    return daemon.counters.snapshot().get(name, 0)


def ids(messages: list[Received]) -> set[str]:
    return {message.json()["id"] for message in messages}


def on(client: Client, topic: str) -> list[Received]:
    return [message for message in list(client.received) if message.topic == topic]


@pytest.mark.parametrize("correlation", [b"c", b""], ids=["correlation data", "nothing"])
def test_a_command_on_a_half_open_link_acts_once(
    link: Link, client: Client, tmp_path: Path, correlation: bytes
) -> None:
    """It came, its acknowledgement vanished, and the link comes back when the command has long expired."""
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        half_open(link, daemon)
        client.publish(TOPICS.command("ask"), "stop the line", correlation=correlation)
        until(lambda: counted(daemon, "commands_answered") == 1)
        expired = time.time() + 2.1  # longer than the command lives
        until(lambda: time.time() > expired)
        link.cut()
        until(lambda: counted(daemon, "commands_duplicate") == 1)
        replies = client.on(TOPICS.response("ask"))
        assert daemon.outbox.drain(LIMIT_S)
        assert counted(daemon, "calls") == 1
        client.publish(TOPICS.command("ask"), "stop the line", correlation=b"another")
        until(lambda: counted(daemon, "calls") == 2)
        until(lambda: len(ids(on(client, TOPICS.response("ask")))) == 2)
    assert replies[0].json()["calls"][0]["outcome"] == "issued"


@pytest.mark.parametrize("correlation", [b"c", b""], ids=["correlation data", "nothing"])
def test_a_command_is_known_again_after_a_restart(
    link: Link, client: Client, tmp_path: Path, correlation: bytes
) -> None:
    """The broker keeps the session, and the store the mark of the session."""
    with start(link, tmp_path) as first:
        assert first.wait_online(LIMIT_S)
        half_open(link, first)
        client.publish(TOPICS.command("ask"), "stop the line", correlation=correlation)
        until(lambda: counted(first, "commands_answered") == 1)
    link.cut()
    with start(link, tmp_path) as second:
        until(lambda: counted(second, "commands_duplicate") == 1)
        assert counted(second, "calls") == 0


def test_two_equal_commands_are_two(link: Link, client: Client, tmp_path: Path) -> None:
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for _ in range(2):
            client.publish(TOPICS.command("ask"), "stop the line")
        replies = client.on(TOPICS.response("ask"), count=2)
        assert len(ids(replies)) == 2
        until(lambda: len(on(client, TOPICS.call("stop_line"))) == 2)
        assert len(ids(on(client, TOPICS.call("stop_line")))) == 2
        assert "commands_duplicate" not in daemon.counters.snapshot()


def test_equal_commands_after_a_broker_that_forgot_the_session_are_new(
    broker: Mosquitto, link: Link, client: Client, tmp_path: Path
) -> None:
    """The new session begins to count its packet ids anew: the first command had the same one."""
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.command("ask"), "stop the line")
        until(lambda: counted(daemon, "calls") == 1)
        assert daemon.outbox.drain(LIMIT_S)
        broker.stop()
        until(lambda: not daemon.connection.connected.is_set())
        broker.start()
        until(daemon.connection.connected.is_set)
        assert daemon.outbox.drain(LIMIT_S)
        link.lose_down = True  # lost on the way, so that it comes with DUP
        again = Client(broker)
        again.publish(TOPICS.command("ask"), "stop the line")
        link.cut()
        until(lambda: counted(daemon, "calls") == 2)
        again.close()


@pytest.mark.parametrize("user", [{"part_id": "A-1"}, {}], ids=["part", "nothing"])
def test_a_frame_on_a_half_open_link_has_one_result(
    link: Link, client: Client, tmp_path: Path, user: dict[str, str]
) -> None:
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        half_open(link, daemon)
        client.publish(TOPICS.frame("cam0"), PICTURE, user=user)
        until(lambda: counted(daemon, "results") == 1)
        link.cut()
        until(lambda: counted(daemon, "frames_duplicate") == 1)
        client.on(TOPICS.result("cam0"))
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "A-2"})
        until(lambda: len(ids(on(client, TOPICS.result("cam0")))) == 2)
        assert counted(daemon, "results") == 2
    assert not on(client, TOPICS.event("cam0"))


def test_a_frame_is_known_again_after_a_restart(link: Link, client: Client, tmp_path: Path) -> None:
    with start(link, tmp_path) as first:
        assert first.wait_online(LIMIT_S)
        half_open(link, first)
        client.publish(TOPICS.frame("cam0"), PICTURE)
        until(lambda: counted(first, "results") == 1)
    link.cut()
    with start(link, tmp_path) as second:
        until(lambda: counted(second, "frames_duplicate") == 1)
        assert counted(second, "results") == 0
        results = client.on(TOPICS.result("cam0"), count=2)  # it is given again
    assert len(ids(results)) == 1


def test_a_rejected_frame_has_no_result_when_it_comes_again(link: Link, client: Client, tmp_path: Path) -> None:
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        half_open(link, daemon)
        client.publish(TOPICS.frame("cam0"), b"no picture", user={"part_id": "A-1"})
        until(lambda: counted(daemon, "frames_rejected") == 1)
        link.cut()
        until(lambda: counted(daemon, "frames_duplicate") == 1)
        event = client.on(TOPICS.event("cam0"))[0].json()
        assert (event["part_id"], counted(daemon, "frames_rejected")) == ("A-1", 1)


def test_the_same_picture_sent_twice_is_two_frames(link: Link, client: Client, tmp_path: Path) -> None:
    """A folder that loops; where part and time say that it is the same frame, it is one, and has its result again."""
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for _ in range(2):
            client.publish(TOPICS.frame("cam0"), PICTURE, user={"name": "a.jpg"})
        assert len(ids(client.on(TOPICS.result("cam0"), count=2))) == 2
        for count in (3, 4):
            client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "A-1", "name": "a.jpg"})
            results = client.on(TOPICS.result("cam0"), count=count)
            until(lambda: not daemon.answers._waiting)
        assert results[2].payload == results[3].payload
        assert counted(daemon, "results") == 3


def test_a_frame_that_waits_is_not_taken_a_second_time(link: Link, client: Client, tmp_path: Path) -> None:
    """The link is cut while two frames wait for the engine: each has one result, and the broker nothing left."""
    with start(link, tmp_path) as daemon:
        assert daemon.wait_online(LIMIT_S)
        with daemon.engine.scheduler.turn(Request()):
            client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "A-1"})
            client.publish(TOPICS.frame("cam0"), PICTURE)
            until(lambda: counted(daemon, "frames_received") == 2)
            link.cut()
            until(lambda: counted(daemon, "frames_duplicate") == 2)
        until(lambda: counted(daemon, "results") == 2)
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "A-2"})
        client.on(TOPICS.result("cam0"), count=3)  # it went out behind the acknowledgements of the first two
        before = link.connections
        link.cut()
        link.wait_for_connections(before + 1)
        until(daemon.connection.connected.is_set)
        client.publish(TOPICS.frame("cam0"), PICTURE, user={"part_id": "A-3"})
        until(lambda: counted(daemon, "results") == 4)
        client.wait_for(lambda message: b"A-3" in message.payload and message.topic == TOPICS.result("cam0"))
        assert counted(daemon, "frames_duplicate") <= 3  # the third's own acknowledgement may have been cut off
    assert len(ids(on(client, TOPICS.result("cam0")))) == 4


def test_two_stations_with_one_client_id_say_so(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """One `info` names the cause, and neither goes on closing the other's connection."""
    del client
    config = station(broker, tmp_path, tools=STOP)
    store, history = dataclasses.replace(config.store, path="other.db"), HistoryConfig("other")
    other = dataclasses.replace(config, store=store, history=history)
    with Daemon(config) as first, Daemon(other) as second:
        until(
            lambda: (
                "may have the client id 'lineside-test" in f"{first.degraded.sentences()}{second.degraded.sentences()}"
            )
        )
