"""The daemon against a real Mosquitto, with the default model and real pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.errors import StoreError
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.store import Outgoing, Store, StoredCommand
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import DeviceFailed
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.picture import decode_picture
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings
from tests.conftest import VIDEO
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.station import LINESIDE, SPEED, TOOLS, TOPICS, station
from tests.support.wait import LIMIT_S, until


@pytest.fixture
def daemon(broker: Mosquitto, client: Client, tmp_path: Path) -> Iterator[Daemon]:
    del client  # it must be subscribed before anything is published
    with Daemon(station(broker.port, tmp_path)) as running:
        assert running.wait_online(LIMIT_S)
        yield running


def is_event(message: Received) -> bool:
    return message.topic == TOPICS.event("cam0")


def forty_megapixels() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8000, 5000)).save(buffer, "JPEG")
    return buffer.getvalue()


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
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == [f"cam0_a_{body['verdict']}.jpg"]


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


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the model where a test is about what happens to its calls: every command stops the line."""

    def answer(*_args: object, **_options: object) -> Answer:
        return Answer("", (ToolCall(new_call_id(), "stop_line", {}),), "stop", Timings(), Counts())

    monkeypatch.setattr("lineside.edge.commands.conversation.ask", answer)


def act(client: Client, outcome: str = "achieved") -> threading.Thread:
    """Play the actuator: answer the first call on any tool."""

    def answer() -> None:
        call = client.wait_for(lambda message: "/call/" in message.topic)[0]
        body = {"id": call.json()["id"], "outcome": outcome, "detail": "belt drive"}
        client.publish(TOPICS.returned(call.topic.rsplit("/", 1)[1]), json.dumps(body))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_a_command_becomes_a_call_and_a_reply(daemon: Daemon, client: Client) -> None:
    actuator = act(client)
    client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/7/replies", correlation=b"\x00\x01")
    reply = client.on("clients/7/replies")[0]
    actuator.join()
    assert reply.correlation == b"\x00\x01"
    (call,) = reply.json()["calls"]
    assert (call["name"], call["arguments"], call["outcome"]) == ("stop_line", {}, "achieved")
    published = client.on(TOPICS.call("stop_line"))[0].json()
    assert (published["id"], published["tool"]) == (call["id"], "stop_line")
    assert daemon.counters.snapshot()["commands_answered"] == 1


@pytest.mark.usefixtures("obedient")
def test_a_call_that_nobody_carries_out_is_said_to_have_expired(
    broker: Mosquitto, client: Client, tmp_path: Path
) -> None:
    tools = {"stop_line": dataclasses.replace(TOOLS["stop_line"], wait_s=0.3)}
    with Daemon(station(broker.port, tmp_path, tools=tools)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.command("ask"), '{"text": "stop the line", "transaction": "t-1"}')
        reply = client.on(TOPICS.response("ask"))[0].json()
    assert reply["transaction"] == "t-1"
    assert [call["outcome"] for call in reply["calls"]] == ["expired"]


@pytest.mark.parametrize(
    ("tool", "call", "outcome"),
    [
        (ToolConfig("Stop.", allowed=False), ToolCall("abc123DEF", "stop", {}), "refused"),
        (ToolConfig("Stop.", dry_run=True), ToolCall("abc123DEF", "stop", {}), "dry_run"),
        (ToolConfig("Stop."), ToolCall("abc123DEF", "explode", {}), "refused"),
        (ToolConfig("Stop.", SPEED), ToolCall("abc123DEF", "stop", {"percent": 500}), "refused"),
    ],
)
def test_what_the_policy_refuses_is_never_published(
    broker: Mosquitto, client: Client, tmp_path: Path, tool: ToolConfig, call: ToolCall, outcome: str
) -> None:
    with Daemon(station(broker.port, tmp_path, tools={"stop": tool})) as daemon:
        daemon.wait_online(LIMIT_S)
        report: CallReport = daemon.calls.carry_out(call, deadline=time.monotonic() + LIMIT_S)
        assert report.outcome == outcome
        assert daemon.outbox.drain(LIMIT_S)
    assert not [message for message in client.received if "/call/" in message.topic]


@pytest.mark.usefixtures("obedient")
def test_malformed_returns_are_counted_and_change_nothing(daemon: Daemon, client: Client) -> None:
    for payload in (b"\xff", b"{}", b'{"id": "unknown", "outcome": "achieved"}', b'{"id": "x", "outcome": "exploded"}'):
        client.publish(TOPICS.returned("stop_line"), payload)
    actuator = act(client, "failed")
    client.publish(TOPICS.command("ask"), "stop the line")
    (call,) = client.on(TOPICS.response("ask"))[0].json()["calls"]
    actuator.join()
    assert (call["outcome"], call["detail"]) == ("failed", "belt drive")
    counters = daemon.counters.snapshot()
    assert (counters["returns_malformed"], counters["returns_unknown"]) == (3, 1)


@pytest.mark.usefixtures("obedient")
@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("ask", b"\xff\xfe\x00\x01", "malformed"),
        ("ask", b"", "malformed"),
        ("ask", b'{"txt": "stop"}', "malformed"),
        ("ask", b"x" * 70_000, "too_large"),
        ("ask", b'{"text": "stop", "expires_at": "2020-01-01T00:00:00Z"}', "expired"),
        ("dance", b"now", "unknown_command"),
    ],
)
def test_a_bad_command_gets_one_error_on_its_response_topic(
    daemon: Daemon, client: Client, name: str, payload: bytes, code: str
) -> None:
    client.publish(TOPICS.command(name), payload, response_topic="clients/1", correlation=b"c1")
    reply = client.on("clients/1")[0]
    assert (reply.json()["ok"], reply.json()["error"]["code"]) == (False, code)
    assert reply.correlation == b"c1"
    assert daemon.counters.snapshot()["commands_failed"] == 1
    actuator = act(client)
    client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/2")
    assert client.on("clients/2")[0].json()["ok"]
    actuator.join()


@pytest.mark.usefixtures("obedient")
def test_a_requester_cannot_steer_where_the_daemon_publishes(daemon: Daemon, client: Client) -> None:
    steered = ("other/station/call/stop", TOPICS.call("stop_line"), TOPICS.status)
    for topic in steered:
        client.publish(TOPICS.command("ask"), "stop the line", response_topic=topic)
    replies = client.on(TOPICS.response("ask"), count=len(steered))
    assert {reply.json()["error"]["code"] for reply in replies} == {"response_topic_refused"}
    seen = [m for m in client.received if m.topic in steered and m.payload not in (b"online", b"offline")]
    assert seen == []
    assert "calls" not in daemon.counters.snapshot()


@pytest.mark.usefixtures("obedient")
def test_a_duplicate_gets_the_same_answer_and_calls_once(daemon: Daemon, client: Client) -> None:
    actuator = act(client)
    for _ in range(3):
        client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/1", correlation=b"same")
    replies = client.on("clients/1")
    actuator.join()
    client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/1", correlation=b"same")
    replies = client.on("clients/1", count=2)
    assert replies[0].payload == replies[1].payload
    assert daemon.counters.snapshot()["calls"] == 1
    client.publish(TOPICS.command("ask"), "stop the line", response_topic="clients/1", correlation=b"other")
    client.on(TOPICS.call("stop_line"), count=2)
    assert daemon.counters.snapshot()["calls"] == 2


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
        with Daemon(station(broker.port, tmp_path)) as daemon:
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
    first = Client(broker.port)
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        take(daemon, pictures[0], "0")
        first.on(TOPICS.result("cam0"))
        broker.stop()
        first.close()
        for number in range(1, 6):
            take(daemon, pictures[number], str(number))
        assert daemon.store.outbox_size() >= 5
        broker.start()
        second = Client(broker.port)

        def names() -> set[str]:  # one may come twice: QoS 1 says at least once
            received = [*first.received, *second.received]
            return {message.json()["name"] for message in received if message.topic == TOPICS.result("cam0")}

        until(lambda: len(names()) == 6)
        second.close()
    assert names() == {str(number) for number in range(6)}


def take(daemon: Daemon, path: Path, name: str) -> None:
    """A picture by a camera of the station's own, until it has been dealt with."""
    done = threading.Event()
    daemon.pipeline.offer(Frame("cam0", data=path.read_bytes(), name=name), triggered=False, done=done.set)
    assert done.wait(LIMIT_S)


def test_a_cut_connection_is_made_again(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    client.on(TOPICS.info)
    daemon.connection.drop()
    client.on(TOPICS.info, count=2)  # announced again
    client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
    assert client.on(TOPICS.result("cam0"))[0].json()["verdict"]


def test_a_crash_shows_as_offline(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """The will: a client that vanishes without goodbye is announced by the broker after its delay."""
    import subprocess

    path = tmp_path / "station.toml"
    path.write_text(f'[station]\nname = "crash"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n')
    process = subprocess.Popen([*LINESIDE, "run", "-c", str(path)], stderr=subprocess.DEVNULL)
    try:
        client.on("lineside/crash/status")
    finally:
        process.kill()
        process.wait()
    statuses = client.on("lineside/crash/status", count=2)
    assert [status.payload for status in statuses] == [b"online", b"offline"]


def test_a_film_as_a_camera(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """In real time: what a slow machine has not seen is passed over, and nothing comes twice."""
    cameras = {"line": CameraConfig("video", str(VIDEO), interval_s=0.6)}
    with Daemon(station(broker.port, tmp_path, cameras=cameras)):
        results = client.on(TOPICS.result("line"), count=4)
    names = [result.json()["name"] for result in results]
    assert names[0] == "000001"
    assert names == sorted(set(names))
    assert all(len(name) == 6 and name.isdecimal() for name in names)


def test_a_camera_that_fails_is_reported_and_the_rest_goes_on(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    cameras = {"cam0": CameraConfig("mqtt"), "broken": CameraConfig("folder", "nowhere")}
    with Daemon(station(broker.port, tmp_path, cameras=cameras)):
        event = client.on(TOPICS.event("broken"))[0].json()
        assert event["event_type"] == "camera_failed"
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.on(TOPICS.result("cam0"))


def test_a_snapshot_too_large_for_the_broker_stops_nothing(tmp_path: Path, pictures: list[Path]) -> None:
    """Mosquitto here takes 8 kB packets: the evidence picture stays away, results come."""
    broker = Mosquitto(tmp_path, max_packet=8_000)
    client = Client(broker.port)
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for number in range(3):
            take(daemon, pictures[number], str(number))
        assert [message.json()["name"] for message in client.on(TOPICS.result("cam0"), count=3)] == ["0", "1", "2"]
        assert daemon.counters.snapshot()["snapshots_failed"] >= 1
    assert not [message for message in client.received if message.topic == TOPICS.snapshot("cam0")]
    client.close()
    broker.stop()


@pytest.mark.usefixtures("obedient")
def test_stored_commands_are_answered_after_a_restart(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """A command that was acknowledged and not yet answered when the power went is answered by the next start."""
    store = Store(tmp_path / "lineside.db", 100)
    store.take_over(StoredCommand("ask", b"stop the line", TOPICS.response("ask"), b"c", time.time() + 60, "digest"))
    store.close()
    actuator = act(client)
    with Daemon(station(broker.port, tmp_path)):
        (call,) = client.on(TOPICS.response("ask"))[0].json()["calls"]
    actuator.join()
    assert call["outcome"] == "achieved"


def test_a_command_that_expired_while_the_station_was_down_is_said_so(
    broker: Mosquitto, client: Client, tmp_path: Path
) -> None:
    store = Store(tmp_path / "lineside.db", 100)
    store.take_over(StoredCommand("ask", b"stop the line", TOPICS.response("ask"), b"c", time.time() - 5, "digest"))
    store.close()
    with Daemon(station(broker.port, tmp_path)):
        assert client.on(TOPICS.response("ask"))[0].json()["error"]["code"] == "expired"
    assert not [message for message in client.received if "/call/" in message.topic]


@pytest.mark.usefixtures("obedient")
def test_a_command_that_may_have_acted_is_not_repeated(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """The power went between call and reply: the next start says so and does not call again."""
    store = Store(tmp_path / "lineside.db", 100)
    command = StoredCommand("ask", b"stop the line", TOPICS.response("ask"), b"c", time.time() + 60, "digest")
    store.take_over(command)
    store.mark_started(command)
    store.close()
    with Daemon(station(broker.port, tmp_path)):
        reply = client.on(TOPICS.response("ask"))[0].json()
    assert reply["error"]["code"] == "interrupted"
    assert not [message for message in client.received if "/call/" in message.topic]


@pytest.mark.usefixtures("obedient")
def test_a_full_disk_does_not_repeat_a_call(daemon: Daemon, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply cannot be stored: it is sent from memory, and the call goes out once."""
    actuator = act(client)
    attempts, room, stored = threading.Semaphore(0), threading.Event(), threading.Event()
    whole = daemon.store.answer

    def answer(command: StoredCommand, reply: Outgoing, *, send: bool = True) -> None:
        attempts.release()
        if not room.is_set():
            raise StoreError("no space")
        whole(command, reply, send=send)
        stored.set()

    monkeypatch.setattr(daemon.store, "answer", answer)
    client.publish(TOPICS.command("ask"), "stop the line")
    assert client.on(TOPICS.response("ask"))[0].json()["ok"]
    actuator.join()
    for _ in range(2):
        assert attempts.acquire(timeout=LIMIT_S)
    room.set()
    assert stored.wait(LIMIT_S)
    assert daemon.store.waiting_commands(20) == []
    assert daemon.counters.snapshot()["calls"] == 1
    assert len([message for message in client.received if message.topic == TOPICS.response("ask")]) == 1


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
    results, replies = Client(broker.port, TOPICS.result("cam0")), Client(broker.port, TOPICS.response("ask"))

    def poison() -> None:
        results.publish(TOPICS.frame("cam0"), data, retain=retain, user={"name": "a\ufeffb"})
        results.publish(TOPICS.command("ask"), "stop the line", retain=retain, user={"name": "a\ufeffb"})

    if retain:
        poison()
    with Daemon(station(broker.port, tmp_path, tools={})) as daemon:
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


def test_a_frame_larger_than_announced_is_refused(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    store = dataclasses.replace(station(broker.port, tmp_path).store, max_payload_bytes=2048)
    with Daemon(station(broker.port, tmp_path, store=store)) as daemon:
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
    with Daemon(station(broker.port, tmp_path, cameras=cameras)):
        assert client.on(TOPICS.result("cam0"))[0].json()["name"] == "b\ufffd.jpg"


@pytest.mark.usefixtures("soon_again")
def test_a_wrong_broker_port_is_waited_for(broker: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens there; it is said, and tried again until somebody does."""
    broker.stop()
    with caplog.at_level("WARNING", "lineside.mqtt"), Daemon(station(broker.port, tmp_path)) as daemon:
        until(lambda: f"no broker at 127.0.0.1:{broker.port}" in caplog.text)
        assert not daemon.wait_online(0.0)
        broker.start()
        assert daemon.wait_online(LIMIT_S)


def test_a_command_overtakes_a_queue_of_frames(
    broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames wait when a command comes, one of them for the engine: the command is given it first. No tool is
    offered, so that nothing but the engine takes time.
    """
    given: list[Priority] = []
    with Daemon(station(broker.port, tmp_path, tools={})) as daemon, ThreadPoolExecutor(6) as threads:
        assert daemon.wait_online(LIMIT_S)
        scheduler = daemon.engine.scheduler
        turn = scheduler.turn

        @contextmanager
        def watched(request: Request) -> Iterator[None]:
            with turn(request):
                given.append(request.priority)
                yield

        monkeypatch.setattr(scheduler, "turn", watched)
        with turn(Request()):
            for path in pictures[:6]:  # each is acknowledged only when it has been looked at
                threads.submit(client.publish, TOPICS.frame("cam0"), path.read_bytes())
            until(lambda: daemon.counters.snapshot().get("frames_received", 0) == 6 and scheduler.waiting == 1)
            client.publish(TOPICS.command("ask"), b"What is the weather on Mars?")
            until(lambda: scheduler.waiting == 2)
        client.on(TOPICS.result("cam0"), count=6)
        client.on(TOPICS.response("ask"))
    assert given[0] is Priority.COMMAND


def test_frames_reuse_the_instruction(daemon: Daemon, client: Client, pictures: list[Path]) -> None:
    for number in range(3):
        client.publish(TOPICS.frame("cam0"), pictures[number].read_bytes())
        client.on(TOPICS.result("cam0"), count=number + 1)
    prompt = daemon.engine.tokenizer.encode_chat(
        InspectionTask(daemon.config.inspect.defect_types).messages(decode_picture(pictures[0].read_bytes()))
    )
    instruction = int((prompt.ids == daemon.engine.bundle.manifest.image_token_id).argmax())
    assert instruction > 16
    assert daemon.engine.pool.statistics().reused_tokens == 5 * instruction  # two looks a frame


def test_a_frame_whose_time_is_over_is_rejected_and_the_next_is_looked_at(
    broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path
) -> None:
    """The engine is kept busy by a more urgent request until the frame's deadline has passed. It was taken so long ago
    that this is soon; the next one has all the time in the world.
    """
    config = station(broker.port, tmp_path)
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
