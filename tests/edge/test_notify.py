"""systemd's protocol, against a socket of the test's own; and which loops are stuck."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.notify import Watchdog, notify, watchdog_s
from lineside.edge.pulse import Pulse
from tests.support.wait import LIMIT_S


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """The socket of a service manager, and what it puts into the environment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(LIMIT_S)
        yield listening, {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}


def test_a_state_arrives(manager: tuple[socket.socket, dict[str, str]]) -> None:
    listening, environment = manager
    assert notify("READY=1", environment)
    assert listening.recv(100) == b"READY=1"


def test_an_abstract_socket_is_one_too() -> None:
    name = f"lineside-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(LIMIT_S)
        assert notify("READY=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert listening.recv(100) == b"READY=1"


def test_nobody_listens(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    assert watchdog_s({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}) == 20.0
    assert watchdog_s({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}) == 0.0
    assert watchdog_s({"WATCHDOG_USEC": "soon"}) == 0.0


def test_the_watchdog_starves_where_a_loop_is_stuck(manager: tuple[socket.socket, dict[str, str]]) -> None:
    listening, environment = manager
    stuck: list[str] = []
    watchdog = Watchdog(lambda: stuck, environment)
    watchdog.start()
    assert listening.recv(100) == b"WATCHDOG=1"
    stuck.append("pipeline")
    while (said := listening.recv(100)) == b"WATCHDOG=1":
        pass
    assert said == b"STATUS=stuck: pipeline"
    assert listening.recv(100) == b"STATUS=stuck: pipeline"
    watchdog.close()


def test_a_turn_that_takes_too_long_is_stuck_and_a_wait_is_not() -> None:
    now = [0.0]
    pulse = Pulse(10.0, lambda: now[0])
    pulse.begin("outbox")
    pulse.begin("pipeline")
    pulse.end("pipeline")
    now[0] = 9.0
    assert pulse.stuck() == []
    now[0] = 11.0
    assert pulse.stuck() == ["outbox"]
    pulse.end("outbox")
    assert pulse.stuck() == []
