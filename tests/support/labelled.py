"""Pictures of good and of defective parts, in the folders of their labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from lineside.edge.inspection.evidence import encode_jpeg
from lineside.runtime.picture import decode_picture


def by_label(pictures: list[Path], folder: Path) -> Path:
    """The repository's dozen in half their size, which is inspected in a quarter of the time; `labels.json` lies beside
    the folder of the pictures."""
    labels = json.loads((pictures[0].parent.parent / "labels.json").read_text())
    for path in pictures:
        to = folder / labels[path.name]["verdict"]
        to.mkdir(parents=True, exist_ok=True)
        half = cv2.resize(decode_picture(path.read_bytes()), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        (to / path.name).write_bytes(encode_jpeg(np.asarray(half, np.uint8)))
    return folder
