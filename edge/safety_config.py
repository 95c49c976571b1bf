"""What the station file says about the states in which calls may be made."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import DAY_S, STRICT, StateConfig


@dataclass(frozen=True, config=STRICT)
class SafetyConfig:
    """In which states tools may be called."""

    parked: str = ""
    """The condition of tools with `safety = "parked"`, such as `Vehicle.Speed == 0`."""
    max_age_s: Annotated[float, Field(gt=0, le=DAY_S)] = 5.0
    """A state that was heard longer ago counts as unsafe, as one does that is not known."""
    states: dict[str, StateConfig] = field(default_factory=dict)
    """`[safety.states."Vehicle.Speed"]`: states that conditions name and no tool has, each with its topic. A path of
    `vss.file` needs none."""
