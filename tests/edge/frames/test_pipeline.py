"""A frame is decoded once, when its turn has come, and waits as it came."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.edge.daemon import Daemon
from lineside.edge.history.records import Query
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.inspection.evidence import BANNER_PX
from lineside.edge.page.pictures import kept_picture
from lineside.runtime.chat import Picture
from lineside.runtime.picture import decode_picture
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import TOPICS, station


def encode_png(picture: Picture) -> bytes:
    good, data = cv2.imencode(".png", picture[:, :, ::-1])
    assert good
    return data.tobytes()


@pytest.mark.parametrize("qos", [0, 1])
def test_a_frame_is_decoded_once(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, qos: int
) -> None:
    decoded: list[bytes] = []

    def counted(data: bytes, max_pixels: int) -> Picture:
        decoded.append(data)
        return decode_picture(data, max_pixels)

    monkeypatch.setattr("lineside.edge.inspection.preparing.decode_picture", counted)
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(60)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), qos=qos)
        client.on(TOPICS.result("cam0"))
    assert decoded == [pictures[0].read_bytes()]


def test_a_frame_that_is_too_old_is_not_decoded(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Daemon(station(broker.port, tmp_path)) as daemon:
        monkeypatch.setattr("lineside.edge.inspection.preparing.decode_picture", None)
        assert daemon.wait_online(60)
        old = daemon.config.inspect.max_age_s + 1
        frame = Frame("cam0", data=pictures[0].read_bytes())
        daemon.pipeline.offer(Frame("cam0", data=frame.data, received=frame.received - old), triggered=True)
        event = client.on(TOPICS.event("cam0"))[0].json()
    assert event["error"]["code"] == "too_old"


def test_a_region_of_a_turned_frame_is_looked_at(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    """The same verdict as of the picture alone; boxes and evidence are of the whole turned frame."""
    picture = decode_picture(pictures[0].read_bytes())
    frame = np.random.default_rng(0).integers(0, 255, (400, 700, 3), np.uint8)
    frame[100:361, 40:680] = picture
    hanging = encode_png(np.rot90(frame))
    cameras = {
        "cam0": CameraConfig("mqtt"),
        "turned": CameraConfig("mqtt", rotate=90, region=(40, 100, 640, 261)),
        "outside": CameraConfig("mqtt", region=(40, 100, 640, 261)),
    }
    always_fail = InspectConfig(part="ball screw", pass_below=0.0, fail_above=0.0, max_age_s=3600.0)
    with Daemon(station(broker.port, tmp_path, cameras=cameras, inspect=always_fail)) as daemon:
        assert daemon.wait_online(60)
        client.publish(TOPICS.frame("cam0"), encode_png(picture), qos=1)
        client.publish(TOPICS.frame("turned"), hanging, qos=1)
        client.publish(TOPICS.frame("outside"), hanging, qos=1)
        alone, turned = (client.on(TOPICS.result(name))[0].json() for name in ("cam0", "turned"))
        event = client.on(TOPICS.event("outside"))[0].json()
        snapshot = decode_picture(client.on(TOPICS.snapshot("turned"))[0].payload)
        daemon.history.flush(60)
        (record,) = daemon.history.search(Query("turned"))
        kept = decode_picture(kept_picture(daemon.history, record, small=False) or b"")
    assert (turned["verdict"], turned["fail_probability"]) == (alone["verdict"], alone["fail_probability"])
    assert alone["verdict"] == "fail"
    moved = [[x0 + 40, y0 + 100, x1 + 40, y1 + 100] for x0, y0, x1, y1 in (each["box"] for each in alone["defects"])]
    boxes = [each["box"] for each in turned["defects"]]
    np.testing.assert_allclose(boxes, moved, atol=25, err_msg="but for what caches round otherwise")
    assert event["error"]["code"] == "region_outside"
    assert "400 x 700" in event["error"]["message"]
    assert snapshot.shape == (400 + BANNER_PX, 700, 3)
    assert kept.shape == (400, 700, 3)
    assert kept[100, 45:60].min() > 200, "the region's line"


def test_a_frame_says_how_large_it_is_shown(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path]
) -> None:
    data = pictures[0].read_bytes()
    with Daemon(station(broker.port, tmp_path)) as daemon:
        assert daemon.wait_online(60)
        client.publish(TOPICS.frame("cam0"), data, qos=1, user={"max_side": "448"})
        client.publish(TOPICS.frame("cam0"), data, qos=1, user={"max_side": "99"})
        result, event = client.on(TOPICS.result("cam0"))[0].json(), client.on(TOPICS.event("cam0"))[0].json()
        asked, whole = (
            daemon.pipeline.look.inspector("cam0").inspect(decode_picture(data), max_side=side) for side in (448, 0)
        )
    assert result["max_side"] == 448
    assert result["fail_probability"] == pytest.approx(asked.fail_probability, abs=1e-3)
    assert abs(asked.fail_probability - whole.fail_probability) > 1e-3, "another picture"
    assert asked.counts.prompt < whole.counts.prompt
    assert (event["error"]["code"], "448 to 1540" in event["error"]["message"]) == ("malformed", True)
