"""What goes over the wire around triggers, besides the results."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from lineside.edge.wire.messages import Body, WireError


class TriggerRequest(BaseModel):
    """The body of `trigger/{trigger}`, where it is not empty. The same `id` again is the same part: its result is given
    again, and nothing is looked at. Without one, each message is a part of its own. `at` is when the part was there,
    with a time zone; the time of arrival where it is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str = Field(default="", max_length=200)
    part_id: str = Field(default="", max_length=200)
    at: AwareDatetime | None = None


class TriggerEvent(Body):
    """On `event/{trigger}`; `error` says why.

    `trigger_rejected`: this trigger has no result. `view_missing`: its result was made without the picture of `camera`.
    `trigger_lost`: what triggers cannot be reached, no part is seen; `trigger_back` when it can again. Whether anything
    triggered in between, from `since` to `ts`, is not known.
    """

    SCHEMA: ClassVar[str] = "lineside.trigger_event/1"
    event_type: Literal["trigger_rejected", "view_missing", "trigger_lost", "trigger_back"]
    trigger: str
    trigger_id: str = ""
    part_id: str = ""
    camera: str = ""
    since: datetime | None = None
    error: WireError | None = None
