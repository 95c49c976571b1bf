"""A frame is decoded once, when its turn has come, and waits as it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.daemon import Daemon
from lineside.runtime.chat import Picture
from lineside.runtime.picture import decode_picture
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station


@pytest.mark.parametrize("qos", [0, 1])
def test_a_frame_is_decoded_once(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, qos: int
) -> None:
    decoded: list[bytes] = []

    def counted(data: bytes, max_pixels: int) -> Picture:
        decoded.append(data)
        return decode_picture(data, max_pixels)

    for module in ("pipeline", "intake"):
        monkeypatch.setattr(f"lineside.edge.frames.{module}.decode_picture", counted, raising=False)
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(60)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), qos=qos)
        client.on(TOPICS.result("cam0"))
    assert decoded == [pictures[0].read_bytes()]


def test_a_frame_that_is_too_old_is_not_decoded(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Daemon(station(broker.port, tmp_path)) as daemon:
        monkeypatch.setattr("lineside.edge.frames.pipeline.decode_picture", None)
        assert daemon.wait_online(60)
        old = daemon.config.inspect.max_age_s + 1
        frame = Frame("cam0", data=pictures[0].read_bytes())
        daemon.pipeline.offer(Frame("cam0", data=frame.data, received=frame.received - old), triggered=True)
        event = client.on(TOPICS.event("cam0"))[0].json()
    assert event["error"]["code"] == "too_old"
