"""Where the time of a request goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Timings:
    """Milliseconds of each stage of a request; `queue_ms` is the time it waited for its turns and its cache."""

    gate_ms: float = 0.0
    preprocess_ms: float = 0.0
    queue_ms: float = 0.0
    vision_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@contextmanager
def stopwatch(timings: Timings, stage: str) -> Iterator[None]:
    """Add the time inside the block to `timings.{stage}_ms`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        name = f"{stage}_ms"
        setattr(timings, name, getattr(timings, name) + (time.perf_counter() - started) * 1e3)
