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
    """At most `calls` in any stretch of `per_s` seconds."""

    calls: Annotated[int, Field(ge=1)]
    per_s: Annotated[float, Field(gt=0, le=30 * DAY_S)]


@dataclass(frozen=True, config=STRICT)
class PublishConfig:
    """A call publishes on `topic`. `payload` is a template: see `edge.calls.bindings.publish`."""

    topic: Annotated[str, Field(min_length=1)]
    payload: str | dict[str, Any] | list[Any] | None = None
    retain: bool = False


@dataclass(frozen=True, config=STRICT)
class ToolConfig:
    """A function that the model may call.

    Attributes:
        parameters: JSON Schema of the arguments; the grammar and the policy both enforce it.
        allowed: false shows the tool to the model but never lets a call through.
        limits: for some arguments, JSON Schemas tighter than `parameters`; the model does not see them.
        quiet_hours: local times such as "22:00-06:00" in which no call goes through.
        cool_down_s: between two calls.
        confirm_s: how long a person has to say yes on `confirm/{tool}`; 0 where none is asked.
        dry_run: decide and report, but do nothing.
        wait_s: for what the call does to be done; 0 does not wait.
        publish, python: what a call does, instead of a message on `call/{tool}`.
    """

    description: str
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    )
    allowed: bool = True
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    quiet_hours: tuple[str, ...] = ()
    cool_down_s: Annotated[float, Field(ge=0, le=30 * DAY_S)] = 0.0
    confirm_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    dry_run: bool = False
    wait_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    publish: PublishConfig | None = None
    python: str = ""

    @property
    def binding(self) -> Literal["actuator", "publish", "python"]:
        if self.publish is not None:
            return "publish"
        return "python" if self.python else "actuator"
