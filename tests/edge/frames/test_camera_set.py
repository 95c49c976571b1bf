"""What a camera is opened with: where one of these keys changes, it is opened anew."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from lineside.edge.camera_config import CameraConfig
from lineside.edge.frames.camera_set import _wire

WIRE: dict[str, Any] = {
    "kind": "gstreamer",
    "source": "rtsp://cam/1",
    "interval_s": 2.0,
    "loop": True,
    "watch": True,
    "black_after": 3,
    "size": (640, 480),
    "fps": 5.0,
    "exposure_ms": 2.5,
    "producer": "maker.cti",
    "hardware_trigger": "Line1",
}
LOOKED_AT = {
    "rotate", "region", "max_side", "part", "part_id", "part_id_pattern", "defect_types", "instruction", "schema",
    "reference", "any_way_up", "examples",
}  # fmt: skip
"""Taken up with the next frame."""
SWITCHES = {"enabled", "inspected"}


def test_every_key_of_the_wire_opens_the_camera_anew() -> None:
    camera = CameraConfig("video", source="0")
    for key, value in WIRE.items():
        assert _wire(replace(camera, **{key: value})) != _wire(camera), key
    assert {field.name for field in fields(CameraConfig)} == WIRE.keys() | LOOKED_AT | SWITCHES, "a key belongs to one"
