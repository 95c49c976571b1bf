"""A daemon that answers over HTTP while frames come."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.http_config import HttpConfig
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.support.broker import Mosquitto
from tests.support.bundles import copy_bundle, edit_manifest
from tests.support.client import Client
from tests.support.served import KEY, openai_client
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S, until

MANY: Any = {
    "type": "json_schema",
    "json_schema": {"name": "many", "schema": {"type": "array", "minItems": 500, "items": {"type": "integer"}}},
}


@pytest.mark.plain_broker
def test_a_frame_does_not_wait_for_an_answer(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    """The answer is long, and its client leaves when the frame has its result."""
    talking = copy_bundle(DEFAULT_BUNDLE, tmp_path / "talking")
    edit_manifest(talking, lambda manifest: manifest["taught"].pop("conversation"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = station(broker, tmp_path)
    (tmp_path / "key").write_text(f"{KEY}\n")
    http = HttpConfig(port, key_file="key", max_tokens=2000, timeout_s=3600.0)
    with Daemon(replace(config, model=replace(config.model, bundle="talking"), http=http)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        chat = openai_client(f"http://127.0.0.1:{port}").chat.completions
        messages: Any = [{"role": "user", "content": "Count."}]
        with chat.create(model="", messages=messages, response_format=MANY, temperature=2, stream=True) as pieces:
            assert next(piece for piece in pieces if piece.choices[0].delta.content)
            client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), qos=1)
            assert client.on(TOPICS.result("cam0"))[0].json()["timing_ms"]["total"] > 0
            assert ("engine_requests", (("kind", "guest"),)) not in daemon.counters.split()
        until(lambda: ("engine_requests", (("kind", "guest"),)) in daemon.counters.split())
        assert daemon.engine.pool.statistics().busy == 0
        until(lambda: daemon.counters.split().get(("http_requests", (("status", "200"),))) == 1)
