"""The pictures of the page: the newest of a camera, and those of kept verdicts with their boxes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from lineside.edge.history.keeper import History
from lineside.edge.history.records import Record
from lineside.edge.history.setups import preparation_then
from lineside.edge.inspection.evidence import beside, encode_jpeg, outlined
from lineside.runtime.chat import Picture
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.preparation import AS_GIVEN
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.picture import decode_picture

THUMBNAIL_PX = 320
"""The longer side of a thumbnail."""


def kept_picture(history: History, record: Record, *, small: bool) -> bytes | None:
    """A JPEG of the frame with its boxes, of a part of those of its views; None where none is there any more."""
    views = [history.find(view["id"]) for view in record.body.get("views") or ()]
    panels = [_drawn(history, one) for one in (views or [record]) if one is not None]
    there = [panel for panel in panels if panel is not None]
    if not there:
        return None
    drawn = beside(there)
    if small and (longest := max(drawn.shape[:2])) > THUMBNAIL_PX:
        size = [max(1, round(side * THUMBNAIL_PX / longest)) for side in (drawn.shape[1], drawn.shape[0])]
        drawn = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(drawn)


def _drawn(history: History, record: Record) -> Picture | None:
    if not record.frame or record.expired_at is not None:
        return None
    try:
        picture = decode_picture((history.folder / record.frame).read_bytes())
        setup = history.setup(record)
        preparation = preparation_then(json.loads(setup.body)["task"]) if setup is not None else AS_GIVEN
    except (OSError, PictureError):
        return None
    found = [Defect(one["type"], tuple(one["box"])) for one in record.body.get("defects", ())]
    return outlined(preparation.upright(picture), record.verdict, found, preparation.box)


def frame_path(history: History, record: Record) -> Path | None:
    """The frame's file, as it came."""
    return history.folder / record.frame if record.frame and record.expired_at is None else None
