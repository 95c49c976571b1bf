"""Each trigger has one result, of all its cameras together, whatever happens to the broker meanwhile."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.demo.broker import HOST
from lineside.edge.history_config import HistoryConfig
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.triggers_config import TriggerConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.plc import Plc
from tests.support.proxy import Proxy
from tests.support.shades import look_at_brightness, shaded
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S, until

TWO = {"top": CameraConfig("mqtt"), "side": CameraConfig("mqtt")}
COUNT, PARTS = 1000, 12
SENT, APART_S, MISSED = 300, 0.02, 100
"""Parts whose frames are sent, how far they are from each other, and of how many pictures may be missing."""
ASKS, REJECTS = 7, 20
QUICK: dict[str, Any] = {
    "history": HistoryConfig(frames=()),
    "inspect": InspectConfig(part="ball screw", max_age_s=3600.0),
}
"""Without files beside the results."""


@pytest.fixture(autouse=True)
def _brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    look_at_brightness(monkeypatch)


def marked(number: int) -> bytes:
    """The picture of one part alone."""
    return shaded("pass") + f"part {number}".encode()


def strangers(found: list[Received]) -> dict[str, str]:
    """By part, what it has seen of another one."""
    bodies = [message.json() for message in found]
    seen = {body["part_id"]: view["frame_sha256"] for body in bodies for view in body["views"]}
    return {part: sha for part, sha in seen.items() if sha != hashlib.sha256(marked(int(part))).hexdigest()}


@pytest.fixture
def folder(tmp_path: Path) -> CameraConfig:
    """A camera that plays the pictures of all parts."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(COUNT):
        (pictures / f"{number:04d}.jpg").write_bytes(marked(number))
    return CameraConfig("folder", str(pictures), loop=True)


@pytest.fixture
def plc() -> Iterator[Plc]:
    controller = Plc()
    yield controller
    controller.close()


class Persistent:
    """Results of the trigger by their ids; the broker keeps what comes while this one is away."""

    def __init__(self, port: int) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        subscribed = threading.Event()
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, "watcher", protocol=paho.MQTTv5)
        client.on_connect = lambda c, *_: c.subscribe(TOPICS.result("eye"), qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _d, message: self._take(bytes(message.payload))
        client.reconnect_delay_set(1, 1)
        keep = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        keep.SessionExpiryInterval = 600
        client.connect(HOST, port, clean_start=False, properties=keep)
        client.loop_start()
        assert subscribed.wait(LIMIT_S)

    def _take(self, payload: bytes | bytearray) -> None:
        body = json.loads(payload)
        self.bodies[body["id"]] = body

    @property
    def ids(self) -> list[str]:
        return list(self.bodies)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def lasting_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Knows after a kill what it knew before."""
    (tmp_path / "broker").mkdir()
    mosquitto = Mosquitto(tmp_path / "broker", persistence=True)
    yield mosquitto
    mosquitto.stop()


def results(client: Client) -> list[Received]:
    return [message for message in list(client.received) if message.topic == TOPICS.result("eye")]


def test_two_pictures_of_a_part_are_one_inspection(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """With the access rules of `deploy/mosquitto`."""
    triggers = {"eye": TriggerConfig("mqtt", ("top", "side"), wait_s=LIMIT_S)}
    with Daemon(station(broker, tmp_path, cameras=TWO, triggers=triggers)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.trigger("eye"), json.dumps({"id": "t-1", "part_id": "A-17"}))
        client.publish(TOPICS.frame("side"), shaded("fail"), user={"part_id": "A-17"})
        client.publish(TOPICS.frame("top"), shaded("pass"), user={"part_id": "A-17"})
        result = client.on(TOPICS.result("eye"))[0].json()
        assert client.on(TOPICS.state("eye"))[0].json()["result_id"] == result["id"]
        assert client.on(TOPICS.snapshot("eye"))[0].payload[:2] == b"\xff\xd8"
        daemon.history.flush(LIMIT_S)
        assert [daemon.history.find(view["id"]) is not None for view in result["views"]] == [True, True]
        assert daemon.history.find(result["id"]) is not None
        counted = daemon.counters.snapshot()
    assert (result["verdict"], result["part_id"], result["trigger"]["id"]) == ("fail", "A-17", "t-1")
    assert [(view["camera"], view["verdict"]) for view in result["views"]] == [("top", "pass"), ("side", "fail")]
    assert [defect["camera"] for defect in result["defects"]] == ["side"]
    assert result["missing"] == []
    assert (counted["results"], counted["views"], counted["triggers"]) == (1, 2, 1)
    assert len(results(client)) == 1


@pytest.mark.plain_broker
def test_a_thousand_triggers_have_a_thousand_results(
    broker: Mosquitto, client: Client, tmp_path: Path, folder: CameraConfig
) -> None:
    """Over a link to the broker that breaks again and again."""
    triggers = {"eye": TriggerConfig("mqtt", ("cam",), wait_s=LIMIT_S)}
    link = Proxy(broker.port)
    with Daemon(
        station(broker, tmp_path, port=link.port, cameras={"cam": folder}, triggers=triggers, **QUICK)
    ) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for number in range(COUNT):
            client._client.publish(TOPICS.trigger("eye"), json.dumps({"part_id": str(number)}), qos=1)
        for seen in (COUNT // 5, COUNT // 2, COUNT * 4 // 5):
            client.on(TOPICS.result("eye"), count=seen)
            link.cut()
        until(lambda: len({message.json()["id"] for message in results(client)}) == COUNT)
        assert daemon.outbox.drain(LIMIT_S)
        assert daemon.counters.snapshot()["results"] == COUNT
    link.close()
    parts = {message.json()["part_id"] for message in results(client)}
    assert parts == {str(number) for number in range(COUNT)}
    assert strangers(results(client)) == {}
    assert not [message for message in client.received if message.topic == TOPICS.event("eye")]


@pytest.mark.plain_broker
def test_no_part_is_judged_by_the_picture_of_another(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """Of hundreds whose frames say when they were captured, and no part: some are lost, some come too late."""
    triggers = {"eye": TriggerConfig("mqtt", ("top",), wait_s=SENT * APART_S + 3.0)}
    late = range(0, MISSED, 10)
    gone = {*late, *range(5, MISSED, 10)}

    def say(topic: str, payload: bytes, captured_at: datetime | None = None) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if captured_at is not None:
            properties.UserProperty = [("captured_at", captured_at.isoformat())]
        client._client.publish(topic, payload, qos=1, properties=properties)

    with Daemon(station(broker, tmp_path, cameras=TWO, triggers=triggers, **QUICK)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        began = datetime.now(UTC) - timedelta(seconds=SENT * APART_S)
        moments = [began + timedelta(seconds=number * APART_S) for number in range(SENT)]
        half = timedelta(seconds=APART_S / 2)
        for number, at in enumerate(moments):
            say(TOPICS.trigger("eye"), json.dumps({"part_id": str(number), "at": at.isoformat()}).encode())
            if number not in gone:
                say(TOPICS.frame("top"), marked(number), at + half)
        until(lambda: len(results(client)) == SENT)
        for number in late:
            say(TOPICS.frame("top"), marked(number), moments[number] + half)
        until(lambda: daemon.counters.snapshot().get("frames_rejected", 0) >= len(late))
        assert daemon.outbox.drain(LIMIT_S)
    found = [message.json() for message in results(client)]
    assert len(found) == len({body["part_id"] for body in found}) == SENT
    assert gone <= {int(body["part_id"]) for body in found if body["missing"]}
    assert strangers(results(client)) == {}


def test_triggers_go_on_while_the_broker_is_dead(lasting_broker: Mosquitto, tmp_path: Path, plc: Plc) -> None:
    """A PLC asks for each part by a coil, and is told of each verdict by another, once a part and at once."""
    pictures = tmp_path / "pictures"
    for camera, verdicts in (("top", ("pass", "pass", "fail", "pass")), ("side", ("pass", "fail", "pass", "pass"))):
        (pictures / camera).mkdir(parents=True)
        for at, verdict in enumerate(verdicts):
            (pictures / camera / f"{at}.jpg").write_bytes(shaded(verdict))  # type: ignore[arg-type]
    cameras = {name: CameraConfig("folder", str(pictures / name), loop=True) for name in ("top", "side")}
    address = f"127.0.0.1:{plc.port}"
    triggers = {
        "eye": TriggerConfig("modbus", ("top", "side"), LIMIT_S, address=address, coil=ASKS, poll_ms=1, reset=True)
    }
    outputs = {"reject": OutputConfig("modbus", address=address, coil=REJECTS)}
    watcher = Persistent(lasting_broker.port)
    with Daemon(
        station(lasting_broker, tmp_path, cameras=cameras, triggers=triggers, outputs=outputs, **QUICK)
    ) as daemon:
        assert daemon.wait_online(LIMIT_S)
        until(lambda: plc.values(REJECTS) == [0])  # the safe state of the start
        for number in range(PARTS):
            if number == PARTS // 3:
                until(lambda: len(watcher.ids) == PARTS // 3)
                lasting_broker.stop()
            plc.set(ASKS, True)
            until(lambda done=number + 1: len(plc.values(ASKS)) == done)  # type: ignore[misc]
            until(lambda done=number + 2: len(plc.values(REJECTS)) == done)  # type: ignore[misc]
            if number == 2 * PARTS // 3:
                lasting_broker.start()
        until(lambda: len(watcher.ids) == PARTS)
        counted = daemon.counters.snapshot()
        decided = plc.values(REJECTS)[1:]
    assert (counted["triggers"], counted["results"], counted["views"]) == (PARTS, PARTS, 2 * PARTS)
    assert decided == [0, 1, 1, 0] * (PARTS // 4)
    assert [body["outputs"]["reject"]["outcome"] for body in watcher.bodies.values()] == ["done"] * PARTS
    watcher.close()
