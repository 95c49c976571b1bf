from __future__ import annotations

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig
from lineside.edge.frames.part_ids import PartIds

IDS = PartIds(
    {
        "fixed": CameraConfig("mqtt", part_id="A-1"),
        "named": CameraConfig("mqtt", part_id_pattern=r"^([A-Z]+-\d+)_"),
        "either": CameraConfig("mqtt", part_id="unknown", part_id_pattern=r"^(?:([A-Z]+-\d+)|scrap)_"),
        "plain": CameraConfig("mqtt"),
    }
)


@pytest.mark.parametrize(
    ("camera", "name", "said", "part"),
    [
        ("fixed", "x.jpg", "", "A-1"),
        ("fixed", "x.jpg", "B-2", "B-2"),
        ("named", "C-3_front.jpg", "", "C-3"),
        ("named", "front.jpg", "", ""),
        ("either", "C-3_front.jpg", "", "C-3"),
        ("either", "scrap_front.jpg", "", "unknown"),
        ("either", "front.jpg", "", "unknown"),
        ("plain", "C-3_front.jpg", "", ""),
        ("gone", "C-3_front.jpg", "", ""),
    ],
)
def test_whoever_sends_a_frame_knows_best_then_its_name_then_the_station_file(
    camera: str, name: str, said: str, part: str
) -> None:
    frame = Frame(camera, name=name, part_id=said)
    found = IDS.named(frame)
    assert (found.part_id, found.id) == (part, frame.id)
