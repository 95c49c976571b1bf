"""What a station file may say about the history: its keys, their types and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT

MIB, GIB = 1024**2, 1024**3
Days = Annotated[float, Field(gt=0, le=36500)]


@dataclass(frozen=True, config=STRICT)
class HistoryConfig:
    """What is kept of each verdict, so that it can be made again, and for how long."""

    folder: str = "history"
    """The folder of the history, from the data folder (`station.data`): verdicts and frames."""
    frames: tuple[Literal["pass", "fail", "unsure"], ...] = ("pass", "fail", "unsure")
    """Verdicts whose frames are kept, as they came; those of a video or a device as PNG, which loses nothing."""
    max_bytes: Annotated[int, Field(ge=MIB)] = 4 * GIB
    """What frames, evidence pictures and verdicts may take together. The oldest frames and evidence go first; verdicts
    when none of those are left."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 256 * MIB
    """So much of the disk stays free: the oldest frames and evidence go for it."""
    pictures_days: Days = 30.0
    """Frames and evidence pictures go after so many days."""
    verdicts_days: Days = 365.0
    """Verdicts go after so many days."""
