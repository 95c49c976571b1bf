"""An inspector that looks at nothing but how bright a picture is, where a test is about what becomes of verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.edge.inspection.evidence import encode_jpeg
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.observation import Inspection
from lineside.runtime.inspection.verdict import Defect, Verdict
from lineside.runtime.timings import Counts, Timings

SHADES: dict[Verdict, int] = {"pass": 30, "unsure": 128, "fail": 220}
PROBABILITY: dict[Verdict, float] = {"pass": 0.1, "unsure": 0.5, "fail": 0.9}
BOX = (2.0, 3.0, 10.0, 12.0)


def shade(verdict: Verdict, side: int = 32) -> Picture:
    return np.full((side, side, 3), SHADES[verdict], np.uint8)


def shaded(verdict: Verdict, side: int = 32) -> bytes:
    """A JPEG of which the inspector says so."""
    return encode_jpeg(shade(verdict, side))


def by_brightness(_self: object, picture: Picture, *_arguments: object) -> Inspection:
    mean = float(picture.mean())
    verdict = min(SHADES, key=lambda verdict: abs(SHADES[verdict] - mean))
    fail = PROBABILITY[verdict]
    defects = (Defect("pitting", BOX),) if verdict == "fail" else ()
    return Inspection(verdict, max(fail, 1 - fail), fail, defects, "stop", Timings(), Counts())


def look_at_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.runtime.inspection.inspector.Inspector.inspect", by_brightness)
