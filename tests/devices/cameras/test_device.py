"""The settings of a device: no /dev/video is here, so what OpenCV is asked for is looked at."""

from __future__ import annotations

import cv2
import pytest

from lineside.devices.cameras.device import DeviceSettings, set_up
from lineside.devices.errors import CameraError


class Capture:
    """Takes any size up to its own, as a camera takes the nearest that it has."""

    def __init__(self, *refuses: int) -> None:
        self.values: dict[int, float] = {cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0}
        self._refuses = refuses

    def set(self, prop: int, value: float) -> bool:
        if prop in self._refuses:
            return False
        self.values[prop] = min(value, 1280) if prop == cv2.CAP_PROP_FRAME_WIDTH else value
        return True

    def get(self, prop: int) -> float:
        return self.values[prop]


def test_nothing_is_set_that_is_not_asked_for() -> None:
    capture = Capture()
    set_up(capture, "0", DeviceSettings())
    assert len(capture.values) == 2


def test_size_rate_and_a_manual_exposure_in_tenths_of_a_millisecond() -> None:
    capture = Capture()
    set_up(capture, "0", DeviceSettings((1280, 720), 15.0, 2.5))
    assert capture.get(cv2.CAP_PROP_FRAME_HEIGHT) == 720
    assert capture.get(cv2.CAP_PROP_FPS) == 15
    assert (capture.get(cv2.CAP_PROP_AUTO_EXPOSURE), capture.get(cv2.CAP_PROP_EXPOSURE)) == (1, 25)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (DeviceSettings((1920, 1080)), r"device 0 gives 1280 x 1080 pixels, not the `size` \[1920, 1080\]"),
        (DeviceSettings(fps=15.0), "`fps`: leave the key out"),
        (DeviceSettings(exposure_ms=2.5), "`exposure_ms`: leave the key out"),
    ],
)
def test_what_a_device_does_not_take_is_named(settings: DeviceSettings, said: str) -> None:
    with pytest.raises(CameraError, match=said):
        set_up(Capture(cv2.CAP_PROP_FPS, cv2.CAP_PROP_EXPOSURE), "0", settings)
