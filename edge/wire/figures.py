"""Figures of a station, in `health`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
