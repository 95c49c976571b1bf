"""What a result says of the pictures that it was made from."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Decider = Literal["gate", "model", "picture"]


class WireDefect(BaseModel):
    """`box` is x0, y0, x1, y1 in pixels of the frame; `camera` is whose frame, in the result of a trigger."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: str
    box: tuple[float, float, float, float]
    camera: str | None = None


class WireGate(BaseModel):
    """What the gate of the camera saw: how unusual the frame is, between which scores the model is asked, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    score: float
    pass_below: float
    fail_above: float
    region: tuple[float, float, float, float]


class WireTrigger(BaseModel):
    """What asked for a result: `id` as the message on `trigger/{name}` gave it, else one that the station made; `at` is
    when it came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    name: str
    at: datetime


class WireView(BaseModel):
    """What one camera of a trigger saw, with the keys of a result. `id` is that of its verdict in the station's
    history, `evidence` the name of its drawn picture in `inspect.evidence_folder`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    camera: str
    id: str
    name: str = ""
    captured_at: datetime
    verdict: Literal["pass", "fail", "unsure"]
    confidence: float
    fail_probability: float
    calibrated: bool = False
    defects: list[WireDefect]
    complete: bool
    finish_reason: str | None = None
    frame_sha256: str
    decided_by: Decider = "model"
    doubt: str | None = None
    gate: WireGate | None = None
    report: Any = None
    evidence: str | None = None


class WireMissing(BaseModel):
    """A camera of a trigger that gave no picture, or one that could not be inspected: `code` is for programs, `reason`
    for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    camera: str
    code: str
    reason: str
