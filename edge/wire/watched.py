"""How a camera's pictures are, in `health`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class WireWatched(BaseModel):
    """A camera's last pictures, held against those that it learnt from: medians over 21, and among 50 the share that
    was `unsure`. Null before there were so many, or where there is nothing to compare with.

    `brightness` and `sharpness`: 1 is as usual. `right_px`, `down_px`: by how far the scene is elsewhere. `likeness`:
    from 0 to about 1. `changed`: the codes of what `pictures_changed` has said and is not over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    brightness: float | None = None
    sharpness: float | None = None
    right_px: float | None = None
    down_px: float | None = None
    likeness: float | None = None
    gate_score: float | None = None
    unsure: float | None = None
    changed: list[str] = Field(default_factory=list)
