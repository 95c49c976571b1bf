"""Members of a group share what comes to it, and lose nothing when one of them dies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.group_config import GroupConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.member import GROUP, Member
from tests.support.station import station
from tests.support.wait import LIMIT_S, until

pytestmark = pytest.mark.plain_broker
FRAMES = 10


def parts(client: Client, member: Member) -> set[str]:
    """That this member has given a result for."""
    return {m.json()["part_id"] for m in client.received if m.topic == member.topics.result("cam0")}


def is_result(message: Received) -> bool:
    return message.topic.endswith("/result/cam0")


def send(client: Client, picture: Path, count: int = FRAMES) -> set[str]:
    names = {str(number) for number in range(count)}
    for name in names:
        client.publish(GROUP.frame("cam0"), picture.read_bytes(), user={"part_id": name})
    return names


def test_a_member_that_dies_in_the_middle_of_a_frame_loses_nothing(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    """It never ends a frame; the broker has given it half of them. The other takes them up."""
    members = [Member(tmp_path, broker.port, name, cost_s) for name, cost_s in (("a", 0.0), ("b", 3600.0))]
    try:
        for member in members:
            client.wait_for(lambda m, own=member: (m.topic, m.payload) == (own.topics.status, b"online"))  # type: ignore[misc]
        sent = send(client, pictures[0])
        until(lambda: members[1].begun.exists())
        until(lambda: bool(parts(client, members[0])))
        assert parts(client, members[0]) < sent
        members[1].kill()
        until(lambda: parts(client, members[0]) == sent)
        gone = GROUP.member("lineside-b-group")
        assert client.wait_for(lambda m: (m.topic, m.payload) == (gone, b""))
        sent = send(client, pictures[1])
        until(lambda: len([m for m in client.received if is_result(m)]) == 2 * FRAMES)
    finally:
        for member in members:
            member.kill()
    results = [m.json() for m in client.received if is_result(m)]
    assert len({body["id"] for body in results}) == 2 * FRAMES


@pytest.fixture
def members(broker: Mosquitto, client: Client, tmp_path: Path) -> Iterator[Client]:
    """The client that hears what two of them say."""
    daemons = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        config = station(broker, folder, client_id=name, group=GroupConfig("line-3", GROUP.base))
        own = dataclasses.replace(config.station, name=name, base_topic=f"lineside/{name}")
        daemons.append(Daemon(dataclasses.replace(config, station=own)))
    with daemons[0], daemons[1]:
        for daemon in daemons:
            assert daemon.wait_online(LIMIT_S)
        yield client


def test_one_frame_is_one_id_whoever_looks_at_it(members: Client, pictures: list[Path]) -> None:
    for _ in range(2):
        members.publish(GROUP.frame("cam0"), pictures[0].read_bytes(), correlation=b"7")
    members.publish(GROUP.frame("cam0"), pictures[0].read_bytes(), correlation=b"8")
    results = members.wait_for(is_result, 3)
    assert {message.topic for message in results} == {"lineside/a/result/cam0", "lineside/b/result/cam0"}
    assert len({message.json()["id"] for message in results}) == 2


def test_what_acts_is_for_a_station_itself(members: Client, tmp_path: Path) -> None:
    for mark in (b"1", b"2"):
        body = {"text": "Stop the line.", "tool_choice": "stop_line"}
        members.publish(GROUP.command("ask"), json.dumps(body), response_topic="clients/1", correlation=mark)
        reply = members.wait_for(lambda m, own=mark: m.correlation == own and m.topic == "clients/1")[0].json()  # type: ignore[misc]
        assert reply["error"]["code"] == "not_in_group"
        assert reply["command"] == "ask"
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("[ab]/lineside.audit/*.jsonl"))
    assert logs.count(b'"code":"not_in_group"') == 2
    members.publish(GROUP.command("switch"), "{}", response_topic="clients/1", correlation=b"3")
    reply = members.wait_for(lambda m: m.correlation == b"3" and m.topic == "clients/1")[0].json()
    assert reply["error"]["code"] == "not_in_group"
    assert not [message for message in members.received if "/call/" in message.topic]
    assert members.on("lineside/a/info")[0].json()["group"] == GROUP.base
