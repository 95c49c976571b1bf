"""Gates with thresholds set by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from lineside.export.evaluation.drawn_parts import draw
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.gate_memory import GateMemory
from lineside.runtime.sessions.patch_features import PatchFeatures


@cache
def features() -> PatchFeatures:
    """One network for all tests."""
    return PatchFeatures()


def small_memory(**changed: object) -> GateMemory:
    """Of four patches."""
    memory = GateMemory(
        np.zeros((4, 152), np.float32),
        np.asarray([1.0, 1.1], np.float32),
        np.asarray([], np.float32),
        1.2,
        1.5,
        0.02,
        features().sha256,
    )
    return replace(memory, **changed)  # type: ignore[arg-type]


def small(kind: str, count: int, flawed: bool) -> list[Picture]:
    """Drawn parts in half their size: quickly learnt."""
    parts = draw(kind, count, flawed)
    return [
        np.asarray(cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8) for part in parts
    ]
