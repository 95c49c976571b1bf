"""`cmd/call` over MQTT: a tool by its name, under the same policy as any other call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.station_file import load_config
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.wait import LIMIT_S

BASE = "lineside/press4"
FILE = """
[station]
name = "press4"
[mqtt]
host = "127.0.0.1"
port = {port}
[model]
bundle = "{bundle}"
threads = 1
[remote]
allow = {allow}
[tools.set_fan]
description = "Set the speed of the fan in percent."
parameters.type = "object"
parameters.required = ["percent"]
parameters.additionalProperties = false
parameters.properties.percent = {{ type = "integer", minimum = 0, maximum = 100 }}
limits.percent = {{ maximum = 60 }}
publish = {{ topic = "plant/fan/set" }}
[tools.open_gate]
description = "Open the gate."
confirm_s = 50
publish = {{ topic = "plant/gate/set", payload = "open" }}
[tools.is_open]
description = "Say whether the gate is open."
query = "It is {{{{ state }}}}."
state = {{ topic = "plant/gate" }}
"""


@pytest.fixture
def file(tmp_path: Path, broker: Mosquitto, random_bundle: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(FILE.format(port=broker.port, bundle=random_bundle, allow='["call"]'))
    return path


@pytest.fixture
def daemon(file: Path) -> Iterator[Daemon]:
    with Daemon(load_config(file)) as running:
        assert running.wait_online(LIMIT_S)
        yield running


def send(client: Client, body: dict[str, Any] | str, mark: bytes) -> None:
    payload = body if isinstance(body, str) else json.dumps(body)
    client.publish(f"{BASE}/cmd/call", payload, response_topic="clients/1", correlation=mark)


def reply(client: Client, body: dict[str, Any] | str, mark: bytes) -> dict[str, Any]:
    send(client, body, mark)
    return client.wait_for(lambda m: m.topic == "clients/1" and m.correlation == mark)[0].json()


@pytest.mark.usefixtures("daemon")
def test_a_call_is_carried_out_once_and_written_down(client: Client, file: Path) -> None:
    """Sent again with its correlation data it gets the reply of the first time, with the same id."""
    body = {"tool": "set_fan", "arguments": {"percent": 40}, "transaction": "t-1"}
    first = reply(client, body, b"1")
    assert (first["ok"], first["command"], first["transaction"]) == (True, "call", "t-1")
    (report,) = first["calls"]
    assert (report["outcome"], report["decided_by"]) == ("issued", "request")
    assert json.loads(client.on("plant/fan/set")[0].payload) == {"percent": 40}
    send(client, body, b"1")
    again = client.wait_for(lambda m: m.topic == "clients/1" and m.correlation == b"1", 2)[1].json()
    assert again["id"] == first["id"]
    reply(client, {"tool": "set_fan", "arguments": {"percent": 41}}, b"2")
    assert len([m for m in client.received if m.topic == "plant/fan/set"]) == 2
    lines = [json.loads(line) for path in file.parent.glob("*.audit/*.jsonl") for line in path.read_text().splitlines()]
    called = next(line for line in lines if line.get("kind") == "call")
    assert called["allowed_by"]["decided_by"] == "request"
    assert called["asked_by"]["transaction"] == "t-1"


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tool": "set_fan", "arguments": {"percent": 80}}, "over_limit"),
        ({"tool": "set_fan", "arguments": {}}, "bad_arguments"),
        ({"tool": "format_disk"}, "unknown_tool"),
        ({"tool": "set_fan", "arguments": {"percent": 1}, "expires_at": "2020-01-01T00:00:00Z"}, "expired"),
        ({"name": "set_fan"}, "malformed"),
        ("set the fan to 40", "malformed"),
    ],
)
def test_what_the_policy_refuses_is_refused(client: Client, body: dict[str, Any] | str, code: str) -> None:
    refused = reply(client, body, b"1")
    assert (refused["ok"], refused["error"]["code"]) == (False, code)
    assert not [m for m in client.received if m.topic.startswith("plant/")]


@pytest.mark.usefixtures("daemon")
def test_a_person_is_asked_and_a_question_answered(client: Client) -> None:
    send(client, {"tool": "open_gate"}, b"1")
    needed = client.on(f"{BASE}/event/open_gate")[0].json()
    client.publish("plant/gate", "shut", retain=True)
    client.publish(f"{BASE}/confirm/open_gate", json.dumps({"id": needed["call_id"], "confirmed": True}))
    done = client.wait_for(lambda m: m.topic == "clients/1" and m.correlation == b"1")[0].json()
    assert done["calls"][0]["outcome"] == "issued"
    while not (told := reply(client, {"tool": "is_open"}, b"%d" % len(client.received)))["ok"]:
        assert told["calls"][0]["code"] == "state_unknown"
    assert told["text"] == "It is shut."


def test_without_the_word_it_is_not_allowed(file: Path, client: Client) -> None:
    file.write_text(file.read_text().replace('["call"]', '["switch"]'))
    with Daemon(load_config(file)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        assert reply(client, {"tool": "set_fan", "arguments": {"percent": 1}}, b"1")["error"]["code"] == "not_allowed"
