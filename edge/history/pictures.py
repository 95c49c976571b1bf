"""Frames and evidence on disk: named by time, camera, part and id, and never overwritten."""

from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import cv2

from lineside.devices.cameras.frame import Frame
from lineside.edge.history.records import FrameKind
from lineside.edge.wire.messages import InspectionResult
from lineside.runtime.picture_kinds import suffix_of

FRAMES = "frames"
LONGEST_PART = 48
FULL = (errno.ENOSPC, errno.EDQUOT)
PNG_LEVEL = 1
"""Of 9: the fastest that packs at all."""


def file_name(result: InspectionResult, suffix: str, *, verdict: bool = False) -> str:
    """Such as `20261129T051053.123456Z_cam0_A-17_0b1c...9f.jpg`: the oldest sorts first."""
    stamp = result.captured_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    part = re.sub(r"[^A-Za-z0-9.-]+", "-", result.part_id).strip(".-")[:LONGEST_PART]
    said = [result.verdict] if verdict else []
    parts = [stamp, result.camera, *([part] if part else []), *said, result.id]
    return "_".join(parts) + suffix


def frame_file(result: InspectionResult, suffix: str) -> str:
    """Below the history's folder, a folder a day."""
    day = result.captured_at.astimezone(UTC).strftime("%Y%m%d")
    return f"{FRAMES}/{day}/{file_name(result, suffix)}"


def frame_bytes(frame: Frame) -> tuple[bytes, str, FrameKind]:
    """What is kept of a frame, what its file's name ends with, and how it is kept."""
    if frame.data is not None:
        return frame.data, suffix_of(frame.data), "came"
    if frame.pixels is None:
        raise ValueError("a frame without a picture")
    good, packed = cv2.imencode(
        ".png", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    )
    if not good:
        raise ValueError(f"a picture of shape {frame.pixels.shape} cannot be written as PNG")
    return packed.tobytes(), ".png", "png"


def write_new(path: Path, data: bytes) -> None:
    """The whole file or none, on the disk when this returns. Raises OSError; FileExistsError where it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def is_full(error: OSError) -> bool:
    return error.errno in FULL


def captured(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
