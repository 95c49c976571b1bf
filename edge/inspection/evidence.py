"""Evidence: the picture with its boxes and verdict drawn, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lineside.runtime.chat import Picture
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.verdict import Defect, Region, Verdict

COLORS = {"pass": (60, 180, 75), "fail": (220, 40, 40), "unsure": (240, 170, 30)}
JPEG_QUALITY = 85
BANNER_PX = 24
ABSENT_PX = 320


def draw(picture: Picture, inspection: Inspection) -> Picture:
    """A copy of the picture under a banner with verdict and confidence, `(height + 24, width, 3)` RGB."""
    color = COLORS[inspection.verdict]
    height, width = picture.shape[:2]
    canvas = np.empty((height + BANNER_PX, width, 3), np.uint8)
    canvas[:BANNER_PX], canvas[BANNER_PX:] = color, picture
    text = f"{inspection.verdict}  {inspection.confidence:.0%}"
    cv2.putText(canvas, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    _outline(canvas, inspection.verdict, inspection.defects, BANNER_PX, inspection.looked_at)
    return canvas


def outlined(picture: Picture, verdict: Verdict, defects: Sequence[Defect], looked_at: Region | None = None) -> Picture:
    """A copy of the picture with the boxes of its defects and what was looked at, `(height, width, 3)` RGB."""
    canvas = picture.copy()
    _outline(canvas, verdict, defects, 0, looked_at)
    return canvas


def _outline(
    canvas: Picture, verdict: Verdict, defects: Sequence[Defect], below_px: int, looked_at: Region | None
) -> None:
    color = COLORS[verdict]
    if looked_at is not None:  # a white line in a black one is seen on anything
        left, top, right, bottom = (round(value) for value in looked_at)
        corners = (left, top + below_px), (right - 1, bottom - 1 + below_px)
        cv2.rectangle(canvas, *corners, (0, 0, 0), 3)
        cv2.rectangle(canvas, *corners, (255, 255, 255), 1)
    for defect in defects:
        x0, y0, x1, y1 = (round(value) for value in defect.box)
        cv2.rectangle(canvas, (x0, y0 + below_px), (x1, y1 + below_px), color, 2)
        at = (x0, max(y0 + below_px - 4, below_px + 10))
        cv2.putText(canvas, defect.type, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1, cv2.LINE_AA)


def beside(pictures: Sequence[Picture]) -> Picture:
    """Pictures from left to right on one canvas, as high as the highest of them. A single one is given back."""
    if len(pictures) == 1:
        return pictures[0]
    heights, widths = zip(*(picture.shape[:2] for picture in pictures), strict=True)
    canvas = np.zeros((max(heights), sum(widths), 3), np.uint8)
    left = 0
    for picture in pictures:
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1]
    return canvas


def absent(camera: str) -> Picture:
    """Stands where the picture of a camera would be."""
    canvas = np.full((ABSENT_PX * 3 // 4, ABSENT_PX, 3), 64, np.uint8)
    canvas[:BANNER_PX] = COLORS["unsure"]
    cv2.putText(canvas, f"no {camera}"[:36], (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def encode_jpeg(picture: Picture) -> bytes:
    """RGB to JPEG bytes."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not good:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return data.tobytes()
