"""Frames against a real broker: results, rejections, evidence, cameras."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from PIL import Image

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.picture import decode_picture
from tests.conftest import VIDEO
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.frames import take
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S


def is_event(message: Received) -> bool:
    return message.topic == TOPICS.event("cam0")


def forty_megapixels() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8000, 5000)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_frame_gives_result_state_and_evidence(
    daemon: Daemon, client: Client, pictures: list[Path], tmp_path: Path
) -> None:
    data = pictures[0].read_bytes()
    captured_at = datetime.now(timezone(timedelta(hours=2))).replace(microsecond=0)
    user = {"part_id": "A-17", "captured_at": captured_at.isoformat(), "name": "a.jpg"}
    client.publish(TOPICS.frame("cam0"), data, user=user)
    result = client.on(TOPICS.result("cam0"))[0]
    body = result.json()
    assert result.content_type == "application/json"
    assert body["verdict"] in ("pass", "fail", "unsure")
    assert 0.5 <= body["confidence"] <= 1
    assert "late" not in body
    assert (body["part_id"], datetime.fromisoformat(body["captured_at"])) == ("A-17", captured_at)
    assert body["captured_at"].endswith("Z")
    assert body["frame_sha256"] == hashlib.sha256(data).hexdigest()
    assert body["model"]["sha256"] == daemon.engine.bundle.sha256
    assert body["timing_ms"]["total"] >= body["timing_ms"]["vision"] > 0
    assert client.on(TOPICS.state("cam0"))[0].json()["result_id"] == body["id"]
    snapshot = client.on(TOPICS.snapshot("cam0"))[0]
    assert Image.open(io.BytesIO(snapshot.payload)).size == (640, 261 + 24)
    daemon.pipeline.close()  # when it has done with the frame
    (evidence,) = (tmp_path / "evidence").iterdir()
    stamp = captured_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    assert evidence.name == f"{stamp}_cam0_A-17_{body['verdict']}_{body['id']}.jpg"


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("truncated", "picture_undecodable"),
        ("empty", "picture_undecodable"),
        ("text", "picture_undecodable"),
        ("huge", "picture_too_large"),
    ],
)
def test_a_bad_frame_gives_one_error_and_the_next_good_one_a_result(
    daemon: Daemon, client: Client, pictures: list[Path], kind: str, code: str, qos: int
) -> None:
    good = pictures[1].read_bytes()
    bad = {"truncated": good[: len(good) // 2], "empty": b"", "text": b"not a picture", "huge": forty_megapixels()}
    client.publish(TOPICS.frame("cam0"), bad[kind], qos=qos, user={"part_id": "bad"})
    client.publish(TOPICS.frame("cam0"), good, qos=qos, user={"part_id": "good"})
    assert client.on(TOPICS.result("cam0"))[0].json()["part_id"] == "good"
    event = client.wait_for(is_event)[0].json()
    assert (event["event_type"], event["part_id"], event["error"]["code"]) == ("frame_rejected", "bad", code)
    counters = daemon.counters.snapshot()
    assert (counters["frames_received"], counters["frames_rejected"], counters["results"]) == (2, 1, 1)
    assert len([message for message in client.received if is_event(message)]) == 1


def test_every_triggered_frame_is_answered(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    for number, path in enumerate(pictures[:8]):
        client.publish(TOPICS.frame("cam0"), path.read_bytes(), user={"part_id": str(number)})
    results = client.on(TOPICS.result("cam0"), count=8)
    assert sorted(int(result.json()["part_id"]) for result in results) == list(range(8))
    assert "frames_dropped" not in daemon.counters.snapshot()


def test_a_frame_by_reference(daemon: Daemon, client: Client, pictures: list[Path], tmp_path: Path) -> None:
    data = pictures[0].read_bytes()
    (tmp_path / "part.jpg").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    for path, sha256 in (
        ("part.jpg", digest),
        ("../../etc/passwd", digest),
        ("none.jpg", digest),
        ("part.jpg", "0" * 64),
    ):
        client.publish(TOPICS.frame("cam0"), json.dumps({"path": path, "sha256": sha256}))
    assert client.on(TOPICS.result("cam0"))[0].json()["name"] == "part.jpg"
    events = client.wait_for(is_event, count=3)
    codes = [event.json()["error"]["code"] for event in events]
    assert codes == ["reference_refused", "reference_missing", "reference_changed"]
    assert daemon.counters.snapshot()["results"] == 1


def test_an_unknown_camera_and_a_bad_time_are_named(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    data = pictures[0].read_bytes()
    client.publish(TOPICS.frame("cam9"), data)
    client.publish(TOPICS.frame("cam0"), data, user={"captured_at": "yesterday"})
    assert client.on(TOPICS.event("cam9"))[0].json()["error"]["code"] == "unknown_camera"
    assert client.on(TOPICS.event("cam0"))[0].json()["error"]["code"] == "malformed"
    assert "results" not in daemon.counters.snapshot()


def test_a_film_as_a_camera(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """In real time: what a slow machine has not seen is passed over, and nothing comes twice."""
    cameras = {"line": CameraConfig("video", str(VIDEO), interval_s=0.6)}
    with Daemon(station(broker, tmp_path, cameras=cameras)):
        results = client.on(TOPICS.result("line"), count=4)
    names = [result.json()["name"] for result in results]
    assert names[0] == "000001"
    assert names == sorted(set(names))
    assert all(len(name) == 6 and name.isdecimal() for name in names)


def test_a_camera_that_fails_is_reported_and_the_rest_goes_on(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    cameras = {"cam0": CameraConfig("mqtt"), "broken": CameraConfig("folder", "nowhere")}
    with Daemon(station(broker, tmp_path, cameras=cameras)):
        event = client.on(TOPICS.event("broken"))[0].json()
        assert event["event_type"] == "camera_failed"
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.on(TOPICS.result("cam0"))


def test_a_snapshot_too_large_for_the_broker_stops_nothing(tmp_path: Path, pictures: list[Path]) -> None:
    """Mosquitto here takes 8 kB packets: the evidence picture stays away, results come."""
    broker = Mosquitto(tmp_path, max_packet=8_000)
    client = Client(broker)
    with Daemon(station(broker, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for number in range(3):
            take(daemon, pictures[number], str(number))
        assert [message.json()["name"] for message in client.on(TOPICS.result("cam0"), count=3)] == ["0", "1", "2"]
        assert daemon.counters.snapshot()["snapshots_failed"] >= 1
    assert not [message for message in client.received if message.topic == TOPICS.snapshot("cam0")]
    client.close()
    broker.stop()


def test_a_frame_larger_than_announced_is_refused(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    store = dataclasses.replace(station(broker, tmp_path).store, max_payload_bytes=2048)
    with Daemon(station(broker, tmp_path, store=store)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), b"x" * 3000)
        assert client.on(TOPICS.event("cam0"))[0].json()["error"]["code"] == "too_large"


def test_a_picture_too_wide_to_draw_still_has_one_result(daemon: Daemon, client: Client) -> None:
    """JPEG ends at 65,535 pixels: no evidence, but no second answer either."""
    buffer = io.BytesIO()
    Image.new("RGB", (70_000, 20), (90, 90, 90)).save(buffer, "PNG")
    client.publish(TOPICS.frame("cam0"), buffer.getvalue())
    client.on(TOPICS.result("cam0"))
    daemon.pipeline.close()  # when it has done with the frame
    assert daemon.counters.snapshot()["evidence_errors"] == 1
    assert not [message for message in client.received if is_event(message)]


def test_a_file_name_that_is_no_utf8(broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"b\xff.jpg")).write_bytes(pictures[0].read_bytes())
    cameras = {"cam0": CameraConfig("folder", "in")}
    with Daemon(station(broker, tmp_path, cameras=cameras)):
        assert client.on(TOPICS.result("cam0"))[0].json()["name"] == "b\ufffd.jpg"


def test_frames_reuse_the_instruction(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    for number in range(3):
        client.publish(TOPICS.frame("cam0"), pictures[number].read_bytes())
        client.on(TOPICS.result("cam0"), count=number + 1)
    prompt = daemon.engine.tokenizer.encode_chat(
        InspectionTask(daemon.config.inspect.defect_types).messages(decode_picture(pictures[0].read_bytes()))
    )
    instruction = int((prompt.ids == daemon.engine.bundle.manifest.image_token_id).argmax())
    assert instruction > 16
    looks = daemon.counters.snapshot()["engine_requests"]  # one or two a frame
    assert looks >= 3
    assert daemon.engine.pool.statistics().reused_tokens == (looks - 1) * instruction


def test_a_frame_whose_time_is_over_is_rejected_and_the_next_is_looked_at(
    broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path
) -> None:
    """The engine is kept busy by a more urgent request until the frame's deadline has passed. It was taken so long ago
    that this is soon; the next one has all the time in the world.
    """
    config = station(broker, tmp_path)
    config = dataclasses.replace(config, inspect=dataclasses.replace(config.inspect, deadline_s=1000.0))
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        with daemon.engine.scheduler.turn(Request(Priority.COMMAND)):
            late = Frame("cam0", data=pictures[0].read_bytes(), part_id="late", received=time.monotonic() - 999.8)
            daemon.pipeline.offer(late, triggered=True)
            event = client.wait_for(is_event)[0].json()
        assert (event["part_id"], event["error"]["code"]) == ("late", "deadline")
        client.publish(TOPICS.frame("cam0"), pictures[1].read_bytes(), user={"part_id": "next"})
        assert client.on(TOPICS.result("cam0"))[0].json()["part_id"] == "next"
