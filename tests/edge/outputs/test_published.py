"""An output on the station's own broker, where the broker is away at first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from lineside.devices.errors import LinkError
from lineside.edge.outputs import published
from lineside.edge.outputs.published import Published
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.traffic import Ending
from tests.support.wait import LIMIT_S


class Awaited(threading.Event):
    """Is set as soon as somebody waits for it."""

    def wait(self, _timeout: float | None = None) -> bool:
        self.set()
        return True


class Line:
    """A connection that is made when `connected` is set."""

    def __init__(self) -> None:
        self.connected = threading.Event()
        self.topics: list[str] = []

    def publish(self, topic: str, _body: bytes, *, ended: Callable[[Ending], None], **_: Any) -> None:
        self.topics.append(topic)
        ended(Ending("acknowledged"))


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def output(line: Line) -> Iterator[Published]:
    output = Published(cast(Connection, line), "cell/reject", False, 30)
    yield output
    output.close()


def test_what_is_for_a_part_waits_for_no_connection(line: Line, output: Published) -> None:
    line.connected = Awaited()
    with pytest.raises(LinkError, match="cell/reject: there is no connection"):
        output.send(b"1", "text/plain")
    line.connected.set()
    output.send(b"2", "text/plain")
    assert line.topics == ["cell/reject"]


def test_the_start_alone_waits_for_it(line: Line, output: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def begin() -> None:
        output.connect()
        done.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert not done.is_set()
    line.connected.set()
    thread.join(LIMIT_S)
    assert done.is_set()
    line.connected.clear()
    monkeypatch.setattr(published, "FIRST_S", 3600.0)
    with pytest.raises(LinkError, match="there is no connection"):
        output.connect()


def test_a_wait_that_was_in_vain_is_the_only_one(output: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "FIRST_S", 0.001)
    for _ in range(2):
        with pytest.raises(LinkError, match="there is no connection"):
            output.connect()
        monkeypatch.setattr(published, "FIRST_S", 3600.0)
