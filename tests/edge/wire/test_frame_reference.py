"""A frame that refers to something else than a picture is rejected at once, with the id of its part."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.errors import RequestError
from lineside.edge.wire.messages import FrameReference
from lineside.edge.wire.reference import read_captured_at, read_referenced
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station
from tests.support.wait import until

CONTENT = b"what a picture is to this test"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def write(path: Path) -> None:
    path.write_bytes(CONTENT)


@pytest.mark.parametrize(
    ("make", "name", "code"),
    [
        (os.mkfifo, "a", "reference_refused"),
        (Path.mkdir, "a", "reference_missing"),
        (listen, "a", "reference_missing"),
        (loop, "a", "malformed"),
        (write, "a\0", "malformed"),
        (write, "\ud800", "malformed"),
        (write, "../a", "reference_refused"),
        (write, "b", "reference_missing"),
        (write, "a" * 5000, "reference_missing"),
        (lambda path: path.write_bytes(CONTENT + b"!"), "a", "reference_changed"),
        (lambda path: path.write_bytes(CONTENT * 100), "a", "too_large"),
        (lambda path: path.symlink_to("/dev/zero"), "a", "reference_refused"),
    ],
)
def test_what_is_no_picture_is_refused(make: Callable[[Path], object], name: str, code: str, tmp_path: Path) -> None:
    make(tmp_path / "a")
    with pytest.raises(RequestError) as refused:
        read_referenced(tmp_path.resolve(), FrameReference(path=name, sha256=SHA256), 100)
    assert refused.value.code == code


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "latest").symlink_to("a")
    assert read_referenced(tmp_path.resolve(), FrameReference(path="latest", sha256=SHA256), 100) == CONTENT


@pytest.mark.parametrize(
    "stamp",
    ["0001-01-01T00:00:00+10:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-10:00", "1969-12-31T23:59:59Z",
     "2026-11-28T22:00:00", "yesterday", ""],
)  # fmt: skip
def test_a_time_that_no_clock_shows_is_malformed(stamp: str) -> None:
    with pytest.raises(RequestError, match="is not an RFC 3339 time") as refused:
        read_captured_at(stamp)
    assert refused.value.code == "malformed"


def test_times_come_in_utc() -> None:
    assert read_captured_at("2026-11-28T23:00:00+01:00") == datetime(2026, 11, 28, 22, tzinfo=UTC)
    assert read_captured_at("1970-01-01T00:00:00Z").year == 1970


def test_the_station_goes_on_behind_them(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """Opening a FIFO waited for somebody to write into it, and no frame was taken in any more."""
    config = station(broker.port, tmp_path)
    os.mkfifo(tmp_path / "fifo.jpg")
    loop(tmp_path / "loop.jpg")
    wanted = {}
    with Daemon(config) as daemon:
        assert daemon.wait_online(20)
        for part, path, code in (
            ("A-1", "fifo.jpg", "reference_refused"),
            ("A-2", "loop.jpg", "malformed"),
            ("A-3", "nul\0.jpg", "malformed"),
        ):
            body = {"path": path, "sha256": SHA256, "part_id": part}
            client.publish(TOPICS.frame("cam0"), json.dumps(body).encode(), qos=1)
            wanted[part] = code
        user = {"part_id": "A-4", "captured_at": "0001-01-01T00:00:00+10:00"}
        client.publish(TOPICS.frame("cam0"), b"\xff\xd8", qos=1, user=user)
        wanted["A-4"] = "malformed"
        until(lambda: codes(client).keys() == wanted.keys())
    assert codes(client) == wanted


def codes(client: Client) -> dict[str, str]:
    """By part: frames that were rejected for the same reason may stand in one event."""
    events = [message.json() for message in list(client.received) if message.topic == TOPICS.event("cam0")]
    parts = [(part, event["error"]["code"]) for event in events for part in event.get("part_ids") or [event["part_id"]]]
    return dict(parts)
