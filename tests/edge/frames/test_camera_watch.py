"""A camera that gives no pictures is said everywhere that somebody may look, with the reason, and so is its return."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.frames.camera_watch import PushedCamera
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.mjpeg import MjpegCamera, numbered
from tests.support.station import TOPICS, station
from tests.support.wait import until


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    opened = MjpegCamera()
    yield opened
    opened.close()


def event(kind: str) -> Callable[[Received], bool]:
    return lambda message: message.topic == TOPICS.event("cam0") and message.json()["event_type"] == kind


def state(stale: bool, verdict: bool) -> Callable[[Received], bool]:
    return lambda message: (
        message.topic == TOPICS.state("cam0")
        and message.json()["stale"] == stale
        and ("verdict" in message.json()) == verdict
    )


def degraded(part: str) -> Callable[[Received], bool]:
    """`info` in which one sentence has `part`; none where it is empty."""
    return lambda message: (
        message.topic == TOPICS.info
        and (any(part in line for line in message.json()["degraded"]) if part else not message.json()["degraded"])
    )


def test_a_camera_that_dies_and_comes_back(
    broker: Mosquitto, client: Client, camera: MjpegCamera, tmp_path: Path
) -> None:
    config = station(broker.port, tmp_path, cameras={"cam0": CameraConfig("video", camera.address)})
    threading.Thread(target=camera.send, args=(numbered(1),)).start()
    with Daemon(config) as daemon:
        client.on(TOPICS.result("cam0"))
        client.wait_for(state(stale=False, verdict=True))
        assert daemon.figures.health().cameras["cam0"].error is None
        camera.refuses = 401
        camera.hang_up()
        died = client.wait_for(event("camera_stale"))[0].json()
        assert died["error"]["code"] in ("camera_ended", "camera_login")
        client.wait_for(state(stale=True, verdict=True))
        client.wait_for(degraded("cam0: http://127.0.0.1"))
        health = daemon.figures.health().cameras["cam0"]
        assert health.error is not None
        assert health.error.code == "camera_login"
        assert "401" in health.error.message
        assert health.age_s is not None
        assert health.age_s > 2
        late = Client(broker.port, f"{TOPICS.base}/#")
        late.wait_for(lambda message: message.retain and state(stale=True, verdict=True)(message))
        late.close()
        camera.refuses = 0
        threading.Thread(target=camera.send, args=(numbered(2),)).start()
        client.wait_for(event("camera_back"))
        client.wait_for(degraded(""), count=2)
        results = client.on(TOPICS.result("cam0"), count=2)
        client.wait_for(state(stale=False, verdict=True), count=2)
        assert [result.json()["name"] for result in results] == ["000001", "000002"]
        assert daemon.counters.snapshot()["cameras_stale"] == 1
        assert len([message for message in client.received if event("camera_stale")(message)]) == 1


def test_a_camera_that_was_never_there(broker: Mosquitto, client: Client, camera: MjpegCamera, tmp_path: Path) -> None:
    camera.close()
    with Daemon(station(broker.port, tmp_path, cameras={"cam0": CameraConfig("video", camera.address)})):
        died = client.wait_for(event("camera_stale"))[0].json()
        assert died["error"]["code"] == "camera_refused"
        client.wait_for(degraded("the connection is refused"))
        client.wait_for(state(stale=True, verdict=False))


def test_a_folder_that_is_not_there(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    with Daemon(station(broker.port, tmp_path, cameras={"cam0": CameraConfig("folder", "missing")})) as daemon:
        client.wait_for(event("camera_failed"))
        client.wait_for(degraded("is not a folder"))
        client.wait_for(state(stale=True, verdict=False))
        error = daemon.figures.health().cameras["cam0"].error
        assert error is not None
        assert error.code == "camera_failed"


def test_an_mqtt_camera_is_stale_where_it_is_said_how_often_it_sends(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    config = station(broker.port, tmp_path)
    often = dataclasses.replace(config.cameras["cam0"], interval_s=0.1)
    with Daemon(dataclasses.replace(config, cameras={"cam0": often})) as daemon:
        client.wait_for(event("camera_stale"))
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.wait_for(event("camera_back"))
        until(lambda: daemon.figures.health().cameras["cam0"].age_s is not None)


def test_an_mqtt_camera_sends_when_it_likes_where_nothing_is_said() -> None:
    now = [0.0]
    silent, said = (PushedCamera("cam0", interval_s, clock=lambda: now[0]) for interval_s in (0.0, 10.0))
    for camera in (silent, said):
        assert camera.health().age_s is None
        camera.connected()
    now[0] = 30.0
    assert (silent.health().age_s, said.health().age_s) == (None, 30.0)
    assert said.health().problem is None
    now[0] = 31.0
    assert silent.health().problem is None
    problem = said.health().problem
    assert problem is not None
    assert problem.code == "camera_silent"
    for camera in (silent, said):
        camera.arrived()
        assert (camera.health().age_s, camera.health().problem) == (0.0, None)
