"""What the station file says about a tool: its interface, its policy, and what a call of it does."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
DAY_S = 24 * 3600


@dataclass(frozen=True, config=STRICT)
class RateLimit:
    """`[tools.NAME.rate_limit]`: at most `calls` in any stretch of `per_s` seconds."""

    calls: Annotated[int, Field(ge=1)]
    """How many calls are let through."""
    per_s: Annotated[float, Field(gt=0, le=30 * DAY_S)]
    """The stretch of time that they are counted in, in seconds."""


@dataclass(frozen=True, config=STRICT)
class PublishConfig:
    """`[tools.NAME.publish]`: a call publishes on a topic."""

    topic: Annotated[str, Field(min_length=1)]
    """The topic. It is fixed: no argument changes where the call publishes."""
    payload: str | dict[str, Any] | list[Any] | None = None
    """Text or JSON with Jinja2 templates over the arguments; the arguments as JSON where it is left out."""
    retain: bool = False
    """Whether the broker keeps the message for later subscribers."""


@dataclass(frozen=True, config=STRICT)
class ToolConfig:
    """`[tools.NAME]`: a function that the model may call."""

    description: str
    """What the function does, for the model."""
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    )
    """JSON Schema of the arguments; the grammar and the policy both enforce it."""
    allowed: bool = True
    """`false` shows the tool to the model but never lets a call through."""
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For some arguments, JSON Schemas tighter than `parameters`; the model does not see them."""
    rate_limit: RateLimit | None = None
    """How many calls are let through in a stretch of time."""
    quiet_hours: tuple[str, ...] = ()
    """Local times such as `22:00-06:00` in which no call goes through."""
    cool_down_s: Annotated[float, Field(ge=0, le=30 * DAY_S)] = 0.0
    """Seconds that must pass between two calls."""
    confirm_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    """How long a person has to say yes on `confirm/NAME`; 0 where none is asked."""
    dry_run: bool = False
    """`true` decides and reports, but carries nothing out."""
    wait_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """How many seconds the reply waits for the call to be carried out; 0 does not wait."""
    publish: PublishConfig | None = None
    """A call publishes there, instead of on `call/NAME`."""
    python: str = ""
    """A call runs this function, `module:function`, or an entry point of the group `lineside.tools`."""

    @property
    def binding(self) -> Literal["actuator", "publish", "python", "mcp"]:
        if self.publish is not None:
            return "publish"
        return "python" if self.python else "actuator"
