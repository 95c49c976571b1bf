"""The daemon against a real broker: coming, going, outages."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.runtime.errors import DeviceFailed
from tests.support.actuator import act
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.frames import take
from tests.support.station import BASE, LINESIDE, SPEED, TOPICS, station
from tests.support.wait import LIMIT_S, until


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away is tried again every second, and not less and less often."""
    monkeypatch.setattr("lineside.edge.wire.network.LONGEST_WAIT_S", 1.0)


def test_announces_itself(daemon: Daemon, client: Client) -> None:
    assert client.on(TOPICS.status)[0].payload == b"online"
    info = client.on(TOPICS.info)[0].json()
    assert info["model"]["sha256"] == daemon.engine.bundle.sha256
    assert info["session"]["device"] == "cpu"
    assert info["tools"]["set_belt_speed"]["parameters"] == SPEED
    assert info["cameras"] == ["cam0"]


def has_counted(daemon: Daemon, kinds: int) -> bool:
    return len(daemon.counters.snapshot()) == kinds


def test_retained_commands_and_frames_do_not_replay(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    client.publish(TOPICS.command("ask"), "stop the line", retain=True)
    client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), retain=True)
    client.publish(TOPICS.returned("stop_line"), b'{"id": "x", "outcome": "achieved"}', retain=True)
    client.publish(TOPICS.confirm("stop_line"), b'{"id": "x", "confirmed": true}', retain=True)
    for _ in range(2):  # they were acknowledged: the next start is given each of them once again, as retained
        with Daemon(station(broker, tmp_path)) as daemon:
            until(partial(has_counted, daemon, 4))
        assert daemon.counters.snapshot() == {
            "commands_ignored_retained": 1,
            "frames_ignored_retained": 1,
            "ret_ignored_retained": 1,
            "confirm_ignored_retained": 1,
        }


@pytest.mark.usefixtures("soon_again")
def test_nothing_is_lost_in_a_broker_outage(broker: Mosquitto, tmp_path: Path, pictures: list[Path]) -> None:
    """Frames of the station itself are inspected while the broker is down; every result arrives when it is back."""
    first = Client(broker)
    with Daemon(station(broker, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        take(daemon, pictures[0], "0")
        first.on(TOPICS.result("cam0"))
        broker.stop()
        first.close()
        for number in range(1, 6):
            take(daemon, pictures[number], str(number))
        assert daemon.store.outbox_size() >= 5
        broker.start()
        second = Client(broker)

        def names() -> set[str]:  # one may come twice: QoS 1 says at least once
            received = [*first.received, *second.received]
            return {message.json()["name"] for message in received if message.topic == TOPICS.result("cam0")}

        until(lambda: len(names()) == 6)
        second.close()
    assert names() == {str(number) for number in range(6)}


def test_a_cut_connection_is_made_again(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    client.on(TOPICS.info)
    daemon.connection.drop()
    client.on(TOPICS.info, count=2)  # announced again
    client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
    assert client.on(TOPICS.result("cam0"))[0].json()["verdict"]


def test_a_crash_shows_as_offline(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """The will: a client that vanishes without goodbye is announced by the broker after its delay."""
    import subprocess

    path, access = tmp_path / "station.toml", broker.station_access
    (tmp_path / "password").write_text(f"{access['password']}\n")
    path.write_text(
        f'[station]\nbase_topic = "{BASE}"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = true\n'
        f'ca_file = "{access["ca_file"]}"\nusername = "{access["username"]}"\npassword_file = "password"\n'
    )
    process = subprocess.Popen([*LINESIDE, "run", "-c", str(path)], stderr=subprocess.DEVNULL)
    try:
        client.on(TOPICS.status)
    finally:
        process.kill()
        process.wait()
    statuses = client.on(TOPICS.status, count=2)
    assert [status.payload for status in statuses] == [b"online", b"offline"]


@pytest.mark.usefixtures("obedient")
@pytest.mark.parametrize("correlation", [b"", b"c"])
def test_half_a_surrogate_pair_stops_nothing(daemon: Daemon, client: Client, correlation: bytes) -> None:
    client.publish(TOPICS.command("ask"), '{"text": "hi", "transaction": "\\ud800"}', correlation=correlation)
    assert client.on(TOPICS.response("ask"))[0].json()["error"]["code"] == "malformed"
    actuator = act(client)
    client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/2")
    assert client.on("clients/2")[0].json()["ok"]
    actuator.join()
    assert daemon.counters.snapshot()["commands_received"] == 2


@pytest.mark.parametrize("retain", [True, False])
def test_a_message_that_paho_cannot_read_costs_itself_only(
    broker: Mosquitto, tmp_path: Path, pictures: list[Path], retain: bool
) -> None:
    """U+FEFF in a property of a frame and of a command; retained they are there before the station is."""
    data = pictures[0].read_bytes()
    results, replies = Client(broker, TOPICS.result("cam0")), Client(broker, TOPICS.response("ask"))

    def poison() -> None:
        results.publish(TOPICS.frame("cam0"), data, retain=retain, user={"name": "a\ufeffb"})
        results.publish(TOPICS.command("ask"), "stop the line", retain=retain, user={"name": "a\ufeffb"})

    if retain:
        poison()
    with Daemon(station(broker, tmp_path, tools={})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        if not retain:
            poison()
        results.publish(TOPICS.frame("cam0"), data, user={"part_id": "after"})
        results.publish(TOPICS.command("ask"), '{"text": "What is the weather on Mars?", "transaction": "after"}')
        assert results.on(TOPICS.result("cam0"))[0].json()["part_id"] == "after"
        assert replies.on(TOPICS.response("ask"))[0].json()["transaction"] == "after"
        assert daemon.counters.snapshot()["messages_unreadable"] == 2
        assert daemon.frame_connection.connected.is_set()
    results.close()
    replies.close()


@pytest.mark.usefixtures("soon_again")
def test_a_wrong_broker_port_is_waited_for(broker: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens there; it is said, and tried again until somebody does."""
    broker.stop()
    with caplog.at_level("WARNING", "lineside.mqtt"), Daemon(station(broker, tmp_path)) as daemon:
        until(lambda: f"no broker at 127.0.0.1:{broker.port}" in caplog.text)
        assert not daemon.wait_online(0.0)
        broker.start()
        assert daemon.wait_online(LIMIT_S)


def test_a_device_that_is_gone_ends_the_daemon_for_a_new_one(
    daemon: Daemon, client: Client, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each frame is answered meanwhile; then the service manager's restart chooses a device anew."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise DeviceFailed("CUDA gives cudaErrorLaunchFailure in cudaStreamSynchronize")

    monkeypatch.setattr(daemon.engine._decoder, "prefill", fail)
    waiting = threading.Thread(target=daemon.wait)
    waiting.start()
    for _ in range(3):
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), qos=1)
    events = [message.json() for message in client.on(TOPICS.event("cam0"), count=2)]  # the later two stand in one
    assert sum(event.get("count", 1) for event in events) == 3
    assert {event["error"]["code"] for event in events} == {"device_failed"}
    waiting.join(LIMIT_S)
    assert not waiting.is_alive()
    assert daemon.failed
