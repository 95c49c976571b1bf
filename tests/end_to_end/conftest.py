"""A daemon on the default model, for the tests of whole ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.runtime.assistant import Answer
from lineside.runtime.chat import ToolCall
from lineside.runtime.text.tool_calls import new_call_id
from lineside.runtime.timings import Counts, Timings
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.secured import SecuredMosquitto
from tests.support.station import station
from tests.support.wait import LIMIT_S


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path, broker_files: Path) -> Iterator[Mosquitto]:
    """As `deploy/mosquitto` sets it up; without TLS and rules where the mark `plain_broker` asks for that."""
    plain = request.node.get_closest_marker("plain_broker") is not None
    mosquitto = Mosquitto(tmp_path) if plain else SecuredMosquitto(tmp_path, broker_files)
    yield mosquitto
    mosquitto.stop()


@pytest.fixture
def daemon(broker: Mosquitto, client: Client, tmp_path: Path) -> Iterator[Daemon]:
    del client  # it must be subscribed before anything is published
    with Daemon(station(broker, tmp_path)) as running:
        assert running.wait_online(LIMIT_S)
        yield running


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the model where a test is about what happens to its calls: every command stops the line."""

    def answer(*_args: object, **_options: object) -> Answer:
        return Answer("", (ToolCall(new_call_id(), "stop_line", {}),), "stop", Timings(), Counts())

    monkeypatch.setattr("lineside.runtime.commands.decide.ask", answer)
