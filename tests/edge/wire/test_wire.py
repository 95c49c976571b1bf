"""The wire format is pinned: the AsyncAPI file is what the code makes, and real messages satisfy its schemas."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from lineside.edge.announcements import HEALTH_EXPIRY_S
from lineside.edge.daemon import Daemon
from lineside.edge.wire.asyncapi import render
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station

FILE = ROOT / "deploy/asyncapi.json"
PARSER = ROOT / "build/asyncapi-parser"
PARSE = """
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[1], "utf8"));
for (const one of diagnostics.filter((one) => one.severity < 2)) console.log(one.message, one.path.join("."));
console.log(document ? "valid" : "not valid");
"""


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == render(), "run: python -m lineside.edge.wire.asyncapi deploy/asyncapi.json"


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(inner)


def test_every_reference_leads_somewhere() -> None:
    """From the document's root, as AsyncAPI takes them."""
    document = json.loads(FILE.read_text())
    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_asyncapis_own_parser_finds_it_valid() -> None:
    """Where `make test` could install it."""
    if shutil.which("node") is None or not (PARSER / "node_modules/@asyncapi/parser").is_dir():
        pytest.skip("needs node, and @asyncapi/parser in build/asyncapi-parser: see CONTRIBUTING.md")
    known = PARSER / f"valid-{hashlib.sha256(FILE.read_bytes()).hexdigest()}"
    if known.exists():  # the parser takes seconds, and says the same each time
        return
    command = ["node", "--input-type=module", "-e", PARSE, str(FILE)]
    found = subprocess.run(command, cwd=PARSER, capture_output=True, text=True, check=True)
    assert found.stdout == "valid\n"
    known.touch()


def test_what_a_sender_may_add_is_documented() -> None:
    document = json.loads(FILE.read_text())
    messages, operations = document["components"]["messages"], document["operations"]
    for name in ("Frame", "FrameReference"):
        assert set(messages[name]["headers"]["properties"]) == {"part_id", "name", "captured_at", "max_side"}
    assert {"correlationData", "responseTopic"} <= set(messages["AskCommand"]["bindings"]["mqtt"])
    assert operations["send_health"]["bindings"]["mqtt"]["messageExpiryInterval"] == HEALTH_EXPIRY_S


def test_published_messages_satisfy_the_schemas(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    registry = Registry().with_resource("urn:station", DRAFT202012.create_resource(json.loads(FILE.read_text())))
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(10)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes())
        client.publish(TOPICS.frame("cam0"), b"no picture")
        client.publish(TOPICS.command("ask"), b"\xff")
        health = json.loads(daemon.figures.health().encode())
        bodies = {
            "InspectionResult": client.on(TOPICS.result("cam0"))[0].json(),
            "State": client.on(TOPICS.state("cam0"))[0].json(),
            "Event": client.on(TOPICS.event("cam0"))[0].json(),
            "Reply": client.on(TOPICS.response("ask"))[0].json(),
            "Info": client.on(TOPICS.info)[0].json(),
            "Health": health,
        }
    for name, body in bodies.items():
        schema = {"$ref": f"urn:station#/components/messages/{name}/payload"}
        Draft202012Validator(schema, registry=registry, format_checker=FormatChecker()).validate(body)
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
