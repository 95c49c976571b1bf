"""The wire format is pinned: the AsyncAPI file is what the code makes, and real messages satisfy its schemas."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.wire.asyncapi import render
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station

FILE = ROOT / "deploy/asyncapi.json"


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == render(), "run: python -m lineside.edge.wire.asyncapi deploy/asyncapi.json"


def test_published_messages_satisfy_the_schemas(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    messages = json.loads(FILE.read_text())["components"]["messages"]
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(10)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.publish(TOPICS.frame("cam0"), b"no picture")
        client.publish(TOPICS.command("ask"), b"\xff")
        health = json.loads(daemon.announcements.health().encode())
        bodies = {
            "InspectionResult": client.on(TOPICS.result("cam0"))[0].json(),
            "State": client.on(TOPICS.state("cam0"))[0].json(),
            "Event": client.on(TOPICS.event("cam0"))[0].json(),
            "Reply": client.on(TOPICS.response("ask"))[0].json(),
            "Info": client.on(TOPICS.info)[0].json(),
            "Health": health,
        }
    for name, body in bodies.items():
        jsonschema.validate(body, messages[name]["payload"], format_checker=jsonschema.FormatChecker())
        assert set(body) >= {"id", "ts", "schema"}, name
        assert body["schema"].startswith("lineside.")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("InspectionResult", {"id", "ts", "schema", "camera", "part_id", "captured_at", "verdict", "confidence",
                              "defects", "model", "timing_ms", "frame_sha256"}),
        ("Reply", {"id", "ts", "schema", "command", "ok", "text", "calls", "error", "transaction"}),
        ("Call", {"id", "ts", "schema", "tool", "arguments", "dry_run", "expires_at"}),
    ],
)  # fmt: skip
def test_keys_that_consumers_rely_on(name: str, keys: set[str]) -> None:
    schema = json.loads(FILE.read_text())["components"]["messages"][name]["payload"]
    assert keys <= set(schema["properties"])
