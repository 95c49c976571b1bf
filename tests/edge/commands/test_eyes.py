"""The pictures of a question, without a model."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.edge.commands.eyes import Eyes, Shown
from lineside.edge.config import Config
from lineside.edge.errors import RequestError
from lineside.edge.frames.newest import NewestFrames
from lineside.edge.frames.switches import Switches
from lineside.edge.inspect_config import InspectConfig
from lineside.edge.wire.asking import AskCommand
from lineside.runtime.chat import Picture
from tests.support.small import small_picture
from tests.support.wait import LIMIT_S

CAMERAS = {"door": CameraConfig("mqtt"), "yard": CameraConfig("mqtt"), "attic": CameraConfig("mqtt", enabled=False)}


class Station:
    def __init__(self, folder: Path) -> None:
        self.config = Config(cameras=dict(CAMERAS), folder=folder, inspect=InspectConfig(max_pixels=20_000))
        self.newest = NewestFrames(lambda _camera: None)
        self.shown: list[tuple[str, Picture]] = []
        self.eyes = Eyes(self.newest, Switches(CAMERAS), lambda *shown: self.shown.append(shown))
        self.cancelled = False

    def see(self, camera: str, number: int = 1, side: int = 56, age_s: float = 0.0) -> None:
        data = small_picture(number, side)
        self.newest.put(Frame(camera, data=data, received=time.monotonic() - age_s, name=f"{number}.jpg"))

    def look(self, **said: object) -> list[Shown]:
        request = AskCommand.model_validate({"text": "what is there?", **said})
        self.eyes.check(request, self.config)
        return self.eyes.look(request, self.config, time.monotonic() + LIMIT_S, lambda: self.cancelled)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_the_newest_frame_of_each_camera_with_its_age(station: Station) -> None:
    station.see("yard", 1)
    station.see("door", 2)
    station.see("door", 3, age_s=2.0)
    door, yard = station.look(cameras=["door", "yard"])
    assert (door.frame.camera, door.frame.name, yard.frame.name) == ("door", "3.jpg", "1.jpg")
    assert door.frame.age_s is not None
    assert 2.0 <= door.frame.age_s < 2.0 + LIMIT_S
    assert door.frame.sha256 == hashlib.sha256(small_picture(3)).hexdigest()
    assert door.label.startswith("Picture 1, camera door, ")
    assert not station.shown


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ({"cameras": ["cellar"]}, "unknown_camera", "'cellar' is not in"),
        ({"cameras": ["attic"]}, "switched_off", "camera attic is switched off"),
        ({"cameras": ["yard"]}, "camera_silent", "camera yard: no frame yet"),
        ({"cameras": ["door"], "max_age_s": 1.0}, "camera_silent", "camera door: its last frame is 5"),
        ({"image": "not base64!"}, "malformed", "`image` is not base64"),
        ({"image": base64.b64encode(b"GIF89a").decode()}, "picture_undecodable", "`image`: "),
        ({"image": {"path": "../secret.jpg", "sha256": "0" * 64}}, "reference_refused", "leads out"),
    ],
)
def test_what_cannot_be_seen_is_refused_by_name(
    station: Station, said: dict[str, object], code: str, told: str
) -> None:
    station.see("door", age_s=5.0)
    with pytest.raises(RequestError, match=told) as refused:
        station.look(**said)
    assert refused.value.code == code


@pytest.mark.parametrize("before", ["", "data:image/jpeg;base64,"])
def test_a_picture_comes_with_the_question(station: Station, before: str) -> None:
    data = small_picture(7)
    (shown,) = station.look(image=before + base64.b64encode(data).decode())
    assert (shown.frame.width, shown.frame.height, shown.frame.sha256) == (56, 56, hashlib.sha256(data).hexdigest())
    assert shown.frame.captured_at is None


def test_a_picture_is_named_with_its_hash(station: Station, tmp_path: Path) -> None:
    data = small_picture(7)
    (tmp_path / "kept.jpg").write_bytes(data)
    named = {"path": "kept.jpg", "sha256": hashlib.sha256(data).hexdigest()}
    assert station.look(image=named)[0].frame.name == "kept.jpg"
    (tmp_path / "kept.jpg").write_bytes(small_picture(8))
    with pytest.raises(RequestError, match="another SHA-256"):
        station.look(image=named)


def test_pictures_count_together(station: Station) -> None:
    station.see("door", side=120)
    station.see("yard", side=120)
    with pytest.raises(RequestError, match="count together"):
        station.look(cameras=["door", "yard"])


def test_a_picture_is_shrunk_and_its_size_is_told_as_it_came(station: Station) -> None:
    wide = np.zeros((10, 1000, 3), np.uint8)
    station.newest.put(Frame("door", pixels=wide))
    (shown,) = station.look(cameras=["door"], max_side=448)
    assert shown.picture.shape == (4, 448, 3)
    assert (shown.frame.width, shown.frame.height) == (1000, 10)


def test_the_model_sees_the_whole_turned_frame(station: Station) -> None:
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :10] = 255  # on the left: above, once it is turned
    station.config.cameras["door"] = CameraConfig("mqtt", rotate=90, region=(0, 0, 20, 10), max_side=448)
    station.newest.put(Frame("door", pixels=wide))
    (shown,) = station.look(cameras=["door"])
    assert (shown.picture.shape, int(shown.picture[:10].min()), int(shown.picture[10:].max())) == ((40, 20, 3), 255, 0)
    assert (shown.frame.width, shown.frame.height) == (20, 40)


def test_a_clip_is_taken_from_now_on(station: Station) -> None:
    """Each picture at its time or later, the first at once; what came before does not count twice."""
    station.see("door", 0)
    after = station.newest.after

    def arrive(camera: str, moment: float, timeout_s: float) -> Frame:
        station.see(camera, 1)
        return after(camera, moment, timeout_s)

    station.newest.after = arrive  # type: ignore[method-assign]
    clip = station.look(cameras=["door"], frames=3, over_s=0.1)
    assert [one.frame.name for one in clip] == ["0.jpg", "1.jpg", "1.jpg"]
    times = [one.frame.captured_at for one in clip]
    assert times == sorted(times, key=str)
    assert times[2] is not None
    assert times[0] is not None
    assert (times[2] - times[0]).total_seconds() >= 0.1


def test_a_clip_ends_when_the_station_stops(station: Station) -> None:
    station.see("door")
    station.cancelled = True
    with pytest.raises(RequestError, match="stopping") as refused:
        station.look(cameras=["door"], frames=2, over_s=5.0)
    assert refused.value.code == "cancelled"


def test_a_clip_that_takes_longer_than_the_command_lives_is_not_begun(station: Station) -> None:
    station.see("door")
    with pytest.raises(RequestError, match="expires before a clip"):
        station.look(cameras=["door"], frames=2, over_s=60.0)


def test_a_snapshot_shows_the_last_picture_of_each_camera(station: Station) -> None:
    station.see("door", side=40)
    station.look(cameras=["door"], snapshot=True)
    assert [(camera, picture.shape) for camera, picture in station.shown] == [("door", (40, 40, 3))]


def test_a_picture_is_shown_upright(station: Station) -> None:
    """The whole of it: a region says where an inspection looks."""
    station.config = replace(station.config, cameras={"door": CameraConfig("mqtt", rotate=90, region=(0, 0, 9, 9))})
    picture = np.random.default_rng(0).integers(0, 255, (20, 60, 3), np.uint8)
    station.newest.put(Frame("door", pixels=picture))
    (shown,) = station.look(cameras=["door"])
    np.testing.assert_array_equal(shown.picture, np.rot90(picture, -1))
    assert (shown.frame.width, shown.frame.height) == (20, 60)
