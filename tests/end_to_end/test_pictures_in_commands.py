"""Questions about what a camera sees, over a real broker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.config import ModelConfig
from lineside.edge.daemon import Daemon
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import Message, ToolCall
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.small import small_picture
from tests.support.station import THREADS, TOPICS, station
from tests.support.wait import LIMIT_S, until

SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["people"],
    "additionalProperties": False,
}
GARAGE = {"open_garage": ToolConfig("Open the garage door.", unchecked=("confidence", "words", "negation", "question"))}


@pytest.fixture
def watching(broker: Mosquitto, client: Client, tmp_path: Path, random_bundle: Path) -> Iterator[Daemon]:
    """A station whose model declares no bounds, with a camera that is watched and not inspected."""
    del client
    model = ModelConfig(bundle=str(random_bundle), threads=THREADS, temperature=0.0, max_tokens=16)
    cameras = {"door": CameraConfig("mqtt", inspected=False)}
    with Daemon(station(broker, tmp_path, model=model, cameras=cameras, tools=GARAGE)) as running:
        assert running.wait_online(LIMIT_S)
        yield running


def show(daemon: Daemon, client: Client, number: int = 1) -> None:
    before = daemon.counters.snapshot().get("frames_not_inspected", 0)
    client.publish(TOPICS.frame("door"), small_picture(number), qos=0)
    until(lambda: daemon.counters.snapshot().get("frames_not_inspected", 0) > before)


def question(client: Client, **said: object) -> dict[str, Any]:
    replies = len([one for one in client.received if one.topic == TOPICS.response("ask")])
    client.publish(TOPICS.command("ask"), json.dumps({"text": "who is at the door?", **said}))
    return client.on(TOPICS.response("ask"), replies + 1)[replies].json()


def test_the_newest_frame_is_asked_about(watching: Daemon, client: Client) -> None:
    show(watching, client, 1)
    show(watching, client, 2)
    reply = question(client, cameras=["door"], schema=SCHEMA, snapshot=True, transaction="t-1")
    assert reply["ok"], reply
    assert reply["answer"] == json.loads(str(reply["text"]))
    assert 0 <= reply["answer"]["people"] <= 9
    (seen,) = reply["frames"]
    assert (seen["camera"], seen["width"]) == ("door", 56)
    (snapshot,) = client.on(TOPICS.snapshot("door"))
    assert snapshot.payload[:2] == b"\xff\xd8"
    again = question(client, cameras=["door"], schema=SCHEMA, snapshot=True, transaction="t-1")
    assert again == reply  # no second look


def test_a_picture_never_leads_to_a_call(watching: Daemon, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a model makes of what stands in it: no tool is offered, and a call is not looked for."""
    offered: list[tuple[object, ...]] = []

    def obeys(_engine: object, messages: list[Message], *tools: object, **_options: object) -> Answer:
        offered.append(tools)
        assert any(not isinstance(part, str) for part in messages[-1].content)
        return Answer("opening", (ToolCall(new_call_id(), "open_garage", {}),), "stop", Timings(), Counts())

    monkeypatch.setattr("lineside.edge.commands.question.ask", obeys)
    show(watching, client)
    reply = question(client, cameras=["door"], text="open the garage if the picture says so")
    assert offered == [()]
    assert (reply["text"], reply["calls"]) == ("opening", [])
    assert not [message for message in client.received if "/call/" in message.topic]


def test_a_camera_without_a_frame_is_refused_by_name(watching: Daemon, client: Client) -> None:
    reply = question(client, cameras=["door"])
    assert reply["error"] == {"code": "camera_silent", "message": "camera door: no frame yet"}
    del watching


def test_what_does_not_fit_says_how_long_it_is(
    broker: Mosquitto, client: Client, tmp_path: Path, random_bundle: Path
) -> None:
    model = ModelConfig(bundle=str(random_bundle), threads=THREADS, capacity=640)
    cameras = {"door": CameraConfig("mqtt", inspected=False)}
    with Daemon(station(broker, tmp_path, model=model, cameras=cameras, tools={})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("door"), small_picture(1, 600), qos=0)
        until(lambda: daemon.counters.snapshot().get("frames_not_inspected", 0) > 0)
        error = question(client, cameras=["door"], text="who? " * 400)["error"]
    assert error["code"] == "prompt_too_long"
    assert "640" in error["message"]


def test_a_model_that_was_not_taught_says_so(daemon: Daemon, client: Client) -> None:
    client.publish(TOPICS.frame("cam0"), small_picture(), qos=1)
    client.on(TOPICS.result("cam0"))
    for said in ({"cameras": ["cam0"]}, {"schema": SCHEMA}):
        error = question(client, **said)["error"]
        assert error["code"] == "not_taught"
    del daemon


def test_a_large_picture_in_a_command_is_taken_and_a_larger_one_refused(watching: Daemon, client: Client) -> None:
    data = small_picture(3, 400)
    assert len(data) > 64 * 1024
    assert question(client, image=base64.b64encode(data).decode(), max_tokens=1)["frames"]
    refused = question(client, image="A" * watching.config.store.max_payload_bytes)
    assert refused["error"]["code"] == "too_large"
