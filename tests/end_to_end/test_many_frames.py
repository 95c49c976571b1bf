"""Frames with QoS 1 are answered one by one, however many wait; they hold up neither commands nor other cameras."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.demo.broker import embedded_broker
from lineside.edge.inspect_config import InspectConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.small import small_picture
from tests.support.station import TOPICS, station

COUNT, AHEAD = 60, 16
LIMIT_S = 120.0


@pytest.fixture(params=["mosquitto", "embedded"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    with ExitStack() as stack:
        if request.param == "embedded":
            yield stack.enter_context(embedded_broker())
        else:
            broker = Mosquitto(tmp_path)
            stack.callback(broker.stop)
            yield broker.port


def is_rejected(message: Received) -> bool:
    return "/event/" in message.topic and message.json()["event_type"] == "frame_rejected"


def test_every_waiting_frame_has_a_result(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent while the station is away, and inspected in their order, with a command that is not held up by them. None is
    too old: nobody has said when it was captured, and each has its turn at once.
    """
    monkeypatch.setattr("lineside.edge.daemon.FRAMES_WAITING", AHEAD)
    config = station(port, tmp_path, tools={}, inspect=InspectConfig(max_age_s=5.0))
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
    results, replies, sender = (
        Client(port, TOPICS.result("cam0")),
        Client(port, TOPICS.response("dance")),
        Client(port, TOPICS.event("+")),
    )
    for number in range(COUNT):
        sender.publish(TOPICS.frame("cam0"), small_picture(number % 200), user={"part_id": str(number)})
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        most = [0]
        watched = threading.Event()

        def watch() -> None:
            acknowledgements = daemon.frame_connection._acknowledgements
            while not watched.wait(0.01):
                most[0] = max(most[0], acknowledgements._messages)

        watching = threading.Thread(target=watch)
        watching.start()
        results.on(TOPICS.result("cam0"), count=3)
        before = len(results.received)
        sender.publish(TOPICS.command("dance"), "now")
        replies.on(TOPICS.response("dance"))
        meanwhile = len(results.received) - before
        found = results.on(TOPICS.result("cam0"), count=COUNT)
        watched.set()
        watching.join()
    assert meanwhile < AHEAD / 2
    assert [int(result.json()["part_id"]) for result in found] == list(range(COUNT))
    assert not [message for message in sender.received if is_rejected(message)]
    assert AHEAD / 2 < most[0] <= AHEAD
    for client in (results, replies, sender):
        client.close()


def test_a_camera_with_a_queue_does_not_starve_a_stream(broker: Mosquitto, tmp_path: Path) -> None:
    cameras = {"queue": CameraConfig("mqtt"), "stream": CameraConfig("mqtt")}
    results = Client(broker, f"{TOPICS.base}/result/+")
    sender = Client(broker, "nothing")
    with Daemon(station(broker, tmp_path, cameras=cameras)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        ended = threading.Event()

        def feed() -> None:
            while not ended.is_set():
                sender._client.publish(TOPICS.frame("queue"), small_picture(90), qos=1)
                sender._client.publish(TOPICS.frame("stream"), small_picture(120), qos=0)
                time.sleep(0.005)

        feeding = threading.Thread(target=feed)
        feeding.start()
        try:
            results.on(TOPICS.result("queue"), count=20)
            streamed = len([m for m in results.received if m.topic == TOPICS.result("stream")])
        finally:
            ended.set()
            feeding.join()
    assert streamed >= 5
    results.close()
    sender.close()
