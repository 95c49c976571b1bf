"""A picture on its way from a camera to the pipeline."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Frame:
    """One picture: either `data`, a picture file as it is, or `pixels`, RGB `(height, width, 3)` uint8.

    Attributes:
        camera: the camera's name in the station file.
        captured_at: in UTC.
        received: `time.monotonic()` at capture, for ages that a clock change does not disturb.
        name: file name or frame number, for people.
        part_id: the part in the picture, where known.
        problem: why there is no picture; such a frame is rejected.
        max_side: pixels of the longer side of what the model is shown; 0 for what the camera's settings say.
        sha256: of `data`, where it is known already.
        moment_known: False where `received` is the time of a later delivery, and nobody knows that of the capture.
        stamped: whoever sent it said when it was captured.
        id: the same for each delivery of one frame; a picture that a camera gives is always a new one.
    """

    camera: str
    data: bytes | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    captured_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    received: float = field(default_factory=time.monotonic)
    name: str = ""
    part_id: str = ""
    sha256: str = ""
    max_side: int = 0
    problem: str = ""
    moment_known: bool = True
    stamped: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def digest(self) -> str:
        """The SHA-256 of what came: of the file's bytes, or of the pixels of a video."""
        if self.sha256:
            return self.sha256
        came = self.data if self.data is not None else self.pixels.tobytes() if self.pixels is not None else b""
        return hashlib.sha256(came).hexdigest()
