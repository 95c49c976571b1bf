"""The pictures of the page: the newest of a camera, and those of kept verdicts with their boxes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from lineside.edge.history.keeper import History
from lineside.edge.history.records import Record
from lineside.edge.history.setups import preparation_then
from lineside.edge.inspection.evidence import encode_jpeg, outlined
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.preparation import AS_GIVEN
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.picture import decode_picture

THUMBNAIL_PX = 320
"""The longer side of a thumbnail."""


def kept_picture(history: History, record: Record, *, small: bool) -> bytes | None:
    """A JPEG of the frame with its boxes; None where the frame is not there any more."""
    if not record.frame or record.expired_at is not None:
        return None
    try:
        picture = decode_picture((history.folder / record.frame).read_bytes())
        setup = history.setup(record)
        preparation = preparation_then(json.loads(setup.body)["task"]) if setup is not None else AS_GIVEN
        picture = preparation.upright(picture)
    except (OSError, PictureError):
        return None
    body = record.body
    defects = [Defect(found["type"], tuple(found["box"])) for found in body.get("defects", ())]
    drawn = outlined(picture, record.verdict, defects, preparation.box)
    if small and (longest := max(drawn.shape[:2])) > THUMBNAIL_PX:
        size = [max(1, round(side * THUMBNAIL_PX / longest)) for side in (drawn.shape[1], drawn.shape[0])]
        drawn = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(drawn)


def frame_path(history: History, record: Record) -> Path | None:
    """The frame's file, as it came."""
    return history.folder / record.frame if record.frame and record.expired_at is None else None
