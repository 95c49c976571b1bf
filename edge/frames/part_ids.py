"""The part that a frame shows, where whoever sent it does not say: what the station file says of its camera."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from lineside.devices.cameras.frame import Frame
from lineside.edge.camera_config import CameraConfig


class PartIds:
    """By `part_id` and `part_id_pattern` of each camera."""

    def __init__(self, cameras: Mapping[str, CameraConfig]) -> None:
        self._known = {
            name: (camera.part_id, re.compile(camera.part_id_pattern) if camera.part_id_pattern else None)
            for name, camera in cameras.items()
            if camera.part_id or camera.part_id_pattern
        }

    def named(self, frame: Frame) -> Frame:
        """With its part, where that is known now."""
        if frame.part_id or frame.camera not in self._known:
            return frame
        part_id, pattern = self._known[frame.camera]
        found = pattern.search(frame.name) if pattern is not None else None
        part_id = (found[1] or part_id) if found is not None else part_id
        return replace(frame, part_id=part_id) if part_id else frame
