"""Commands against a real broker: replies, refusals, duplicates, restarts."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.errors import StoreError
from lineside.edge.tool_config import ToolConfig
from lineside.edge.wire.messages import CallReport
from lineside.edge.wire.store import Outgoing, Store, StoredCommand
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.scheduler import Priority, Request
from tests.support.actuator import act
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import SPEED, TOOLS, TOPICS, station
from tests.support.wait import LIMIT_S, until


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
    with Daemon(station(broker, tmp_path, tools=tools)) as daemon:
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
    with Daemon(station(broker, tmp_path, tools={"stop": tool})) as daemon:
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


@pytest.mark.usefixtures("obedient")
def test_stored_commands_are_answered_after_a_restart(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """A command that was acknowledged and not yet answered when the power went is answered by the next start."""
    store = Store(tmp_path / "lineside.db", 100)
    store.take_over(StoredCommand("ask", b"stop the line", TOPICS.response("ask"), b"c", time.time() + 60, "digest"))
    store.close()
    actuator = act(client)
    with Daemon(station(broker, tmp_path)):
        (call,) = client.on(TOPICS.response("ask"))[0].json()["calls"]
    actuator.join()
    assert call["outcome"] == "achieved"


def test_a_command_that_expired_while_the_station_was_down_is_said_so(
    broker: Mosquitto, client: Client, tmp_path: Path
) -> None:
    store = Store(tmp_path / "lineside.db", 100)
    store.take_over(StoredCommand("ask", b"stop the line", TOPICS.response("ask"), b"c", time.time() - 5, "digest"))
    store.close()
    with Daemon(station(broker, tmp_path)):
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
    with Daemon(station(broker, tmp_path)):
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


def test_a_command_overtakes_a_queue_of_frames(
    broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames wait when a command comes, one of them for the engine: the command is given it first. The only
    tool is never let through, so that nothing but the engine takes time.
    """
    given: list[Priority] = []
    tools = {"stop_line": ToolConfig("Stop the line.", allowed=False)}
    with Daemon(station(broker, tmp_path, tools=tools)) as daemon, ThreadPoolExecutor(6) as threads:
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
