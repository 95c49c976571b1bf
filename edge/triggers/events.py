"""What is said of a trigger on `event/{trigger}`, besides its results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from lineside.edge.errors import RequestError
from lineside.edge.frames.part import Part
from lineside.edge.wire.identity import request_id
from lineside.edge.wire.messages import JSON_TYPE, WireError
from lineside.edge.wire.store import Outgoing
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.trigger_messages import TriggerEvent
from lineside.edge.wire.trigger_store import StoredTrigger
from lineside.edge.wire.views import WireMissing

log = logging.getLogger("lineside.triggers")


class TriggerEvents:
    """`send` keeps a message on disk until the broker has it."""

    def __init__(self, topics: Topics, send: Callable[[Outgoing], None]) -> None:
        self._topics, self._send = topics, send

    def rejected(self, trigger: StoredTrigger, problem: RequestError) -> None:
        log.warning("a trigger of %s has no result: %s", trigger.name, problem)
        self._say(
            TriggerEvent(
                id=request_id(trigger.id, problem.code)[:32],
                event_type="trigger_rejected",
                trigger=trigger.name,
                trigger_id=trigger.said or trigger.id,
                part_id=trigger.part_id,
                error=WireError(code=problem.code, message=str(problem)),
            )
        )

    def missing(self, part: Part, missing: WireMissing) -> None:
        log.warning("%s: no picture of %s: %s", part.camera, missing.camera, missing.reason)
        self._say(
            TriggerEvent(
                id=request_id("missing", part.id, missing.camera)[:32],
                event_type="view_missing",
                trigger=part.camera,
                trigger_id=part.trigger.id if part.trigger is not None else part.id,
                part_id=part.part_id,
                camera=missing.camera,
                error=WireError(code=missing.code, message=missing.reason),
            )
        )

    def lost(self, trigger: str, since: datetime, code: str, why: str) -> None:
        error = WireError(code=code, message=why)
        self._say(TriggerEvent(event_type="trigger_lost", trigger=trigger, since=since, error=error))

    def back(self, trigger: str, since: datetime) -> None:
        self._say(TriggerEvent(event_type="trigger_back", trigger=trigger, since=since))

    def _say(self, event: TriggerEvent) -> None:
        self._send(Outgoing(self._topics.event(event.trigger), event.encode(), JSON_TYPE))
