"""The virtual camera of genicam's own wheel: three cameras of 400 x 400 with a ball in red, green or blue."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from lineside.devices.cameras import genicam
from lineside.devices.cameras.camera import CameraSettings, open_camera
from lineside.devices.cameras.frame import Frame
from lineside.devices.cameras.genicam import DEEP, GenicamSettings, read_genicam, set_up, to_bgr
from lineside.devices.cameras.live import LiveCamera
from lineside.devices.errors import CameraError

PATIENCE_S = 120.0
viky = Path(pytest.importorskip("genicam", reason="the genicam extra is missing").__file__).with_name("viky.cti")
pytest.importorskip("harvesters", reason="the genicam extra is missing")


@pytest.mark.parametrize(("source", "channel"), [("0", 0), ("VikyTL_DEV_blue", 2)])
def test_a_camera_is_found_by_its_serial_number_or_id(source: str, channel: int, tmp_path: Path) -> None:
    camera = open_camera(CameraSettings("cam", "genicam", source, producer=str(viky)), tmp_path)
    assert isinstance(camera, LiveCamera)
    stop = threading.Event()
    with closing(cast("Generator[Frame, None, None]", camera.frames(stop))) as frames:
        pixels = next(frames).pixels
    assert pixels is not None
    assert pixels.shape == (400, 400, 3)
    others = [each for each in range(3) if each != channel]
    assert pixels[:, :, channel].mean() > max(pixels[:, :, other].mean() for other in others), "its ball"


def test_cameras_of_one_producer_share_it() -> None:
    """It can be loaded once; the second goes on where the first is closed."""
    one, other = (read_genicam(GenicamSettings(name, viky), PATIENCE_S) for name in ("0", "1"))
    with closing(other):
        with closing(one):
            assert next(shot for shot in one if shot is not None).rgb().shape == (400, 400, 3)
            assert next(shot for shot in other if shot is not None).rgb().shape == (400, 400, 3)
        assert next(shot for shot in other if shot is not None).rgb().shape == (400, 400, 3)
    assert not genicam._LOADED


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (GenicamSettings("", viky), "say in `source` which camera; there are: Viky with serial number 0, Viky"),
        (GenicamSettings("Viky", viky), "3 cameras are 'Viky'"),
        (GenicamSettings("77", viky), "0 cameras are '77'; there are: Viky with serial number 0"),
        (GenicamSettings("0", viky, exposure_ms=5.0), "`exposure_ms`: the camera has no ExposureTime"),
        (GenicamSettings("0", viky, hardware_trigger="Line1"), "`hardware_trigger`: the camera has no TriggerMode"),
        (GenicamSettings("0", Path("none.cti")), "`producer`: none.cti is not a file"),
        (GenicamSettings("0", Path(__file__)), "producer: .*test_genicam.py"),
    ],
)
def test_what_the_camera_has_not_is_named(settings: GenicamSettings, said: str) -> None:
    with pytest.raises(CameraError, match=said):
        next(read_genicam(settings, PATIENCE_S))
    assert not genicam._LOADED


def test_producers_are_found_where_their_makers_put_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    with pytest.raises(CameraError, match=r"no GenTL producer.*GENICAM_GENTL64_PATH"):
        next(read_genicam(GenicamSettings(), PATIENCE_S))
    (tmp_path / "viky.cti").symlink_to(viky)
    with closing(read_genicam(GenicamSettings("2"), PATIENCE_S)) as shots:
        assert next(shot for shot in shots if shot is not None).rgb().shape == (400, 400, 3)


def node(**more: object) -> SimpleNamespace:
    return SimpleNamespace(**{"value": None, "min": 10.0, "max": 20_000.0, "symbolics": ("Software", "Line1"), **more})


def test_exposure_and_trigger_are_set_by_the_names_of_the_standard() -> None:
    names = ("ExposureAuto", "ExposureTime", "TriggerSelector", "TriggerMode", "TriggerSource")
    nodes = SimpleNamespace(**{name: node() for name in names})
    set_up(nodes, GenicamSettings(exposure_ms=2.5, hardware_trigger="Line1"))
    values = [getattr(nodes, name).value for name in names]
    assert values == ["Off", 2500.0, "FrameStart", "On", "Line1"]
    with pytest.raises(CameraError, match=r"`exposure_ms` 25: the camera takes 0.01 to 20"):
        set_up(nodes, GenicamSettings(exposure_ms=25))
    with pytest.raises(CameraError, match="'Line7': the camera has Software, Line1"):
        set_up(nodes, GenicamSettings(hardware_trigger="Line7"))


def test_pixel_formats_become_the_colours_that_they_are() -> None:
    red = {"RGB8": (255, 0, 0), "BGR8": (0, 0, 255), "RGBa8": (255, 0, 0, 9), "BGRa8": (0, 0, 255, 9)}
    for name, pixel in red.items():
        data = np.tile(np.asarray(pixel, np.uint8), 12)
        assert to_bgr(data, 4, 3, name)[1, 1].tolist() == [0, 0, 255], name
    for name, at in (("BayerRG8", (0, 0)), ("BayerGR8", (0, 1)), ("BayerGB8", (1, 0)), ("BayerBG8", (1, 1))):
        mosaic = np.zeros((8, 8), np.uint8)
        mosaic[at[0] :: 2, at[1] :: 2] = 255
        assert to_bgr(mosaic.ravel(), 8, 8, name)[4, 4].tolist() == [0, 0, 255], name
    assert to_bgr(np.full(12, 7, np.uint8), 4, 3, "Mono8")[2, 3].tolist() == [7, 7, 7]
    for name, bits in DEEP.items():
        assert to_bgr(np.full(12, 1 << (bits - 1), np.uint16), 4, 3, name)[0, 0].tolist() == [128] * 3
    with pytest.raises(CameraError, match=r"YUV422_8 is not read: set the camera to one of .*Mono8"):
        to_bgr(np.zeros(24, np.uint8), 4, 3, "YUV422_8")
