"""Pictures so small that many of them are inspected in no time, and that show something: noise in colour."""

from __future__ import annotations

import numpy as np

from lineside.edge.inspection.evidence import encode_jpeg


def small_picture(number: int = 90, side: int = 56) -> bytes:
    """A JPEG of `side` x `side` pixels; another one for each number."""
    return encode_jpeg(np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8))
