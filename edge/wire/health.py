"""The message `health` and its parts."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from lineside.edge.wire.messages import Body, WireError, WireModel
from lineside.edge.wire.watched import WireWatched


class WireCamera(BaseModel):
    """How a camera does: `age_s` of its newest frame, and in `error` why it gives no new ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    age_s: float | None = None
    error: WireError | None = None


class WireQueue(BaseModel):
    """What waits, and for how many seconds the oldest has; no `age_s` where nothing waits."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    waiting: int
    age_s: float | None = None


class WireSplit(BaseModel):
    """A part of a counter: how much of it had these labels, such as the reason of a rejection."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    labels: dict[str, str]
    value: int


class WireHistogram(BaseModel):
    """Times of one stage. `counts` has one number for each of `bounds_ms`, and a last one for what took longer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    labels: dict[str, str]
    counts: list[int]
    sum_ms: float


class WireBoard(BaseModel):
    """What the board tells of itself, by the names of its sensors; empty where it tells nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    temperature_c: dict[str, float] = Field(default_factory=dict)
    power_w: dict[str, float] = Field(default_factory=dict)


class Health(Body):
    """On `health`, retained and expiring: what was counted since the start, how long things took, what waits, and the
    cameras that run. The Prometheus page has the same figures.

    `split` has parts of `counters` by label. Times are in milliseconds: `frame` and `command` by stage, `first_token`
    from the engine's request to the first token of its answer.
    """

    SCHEMA: ClassVar[str] = "lineside.health/1"
    uptime_s: float
    counters: dict[str, int]
    outbox_messages: int
    outbox_age_s: float | None = None
    cameras: dict[str, WireCamera] = Field(default_factory=dict)
    pictures: dict[str, WireWatched] = Field(default_factory=dict)
    queues: dict[str, WireQueue] = Field(default_factory=dict)
    split: list[WireSplit] = Field(default_factory=list)
    bounds_ms: list[float] = Field(default_factory=list)
    histograms: list[WireHistogram] = Field(default_factory=list)
    models: dict[str, WireModel] = Field(default_factory=dict)
    board: WireBoard = Field(default_factory=WireBoard)
