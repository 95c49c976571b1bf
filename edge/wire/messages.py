"""What goes over the wire. These classes are the JSON Schemas of the AsyncAPI file; a test compares the two.

Every body repeats `id`, `ts` and `schema`, so that an MQTT 3.1.1 client loses nothing. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from lineside.edge.wire.asking import ShownFrame
from lineside.edge.wire.changes import WireRemote
from lineside.edge.wire.views import Decider, WireDefect, WireGate, WireMissing, WireTrigger, WireView
from lineside.runtime.defaults import LARGEST_SIDE, SMALLEST_SIDE

JSON_TYPE = "application/json"
Verdict = Literal["pass", "fail", "unsure"]
DecidedBy = Literal["phrase", "conversation", "model", "request"]
Outcome = Literal["issued", "accepted", "achieved", "failed", "expired", "refused", "dry_run"]
OutputOutcome = Literal["done", "failed", "late", "skipped", "repeated"]


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    """Random, and sortable by nothing: consumers use it to drop duplicates."""
    return uuid.uuid4().hex


class Body(BaseModel):
    """The common part. `schema` is the name and version of the body's shape."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True, validate_by_name=True)
    SCHEMA: ClassVar[str] = ""

    id: str = Field(default_factory=new_id)
    ts: datetime = Field(default_factory=now)
    schema_: str = Field(default="", alias="schema")

    def model_post_init(self, _context: Any) -> None:
        object.__setattr__(self, "schema_", self.SCHEMA)

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class WireModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    sha256: str


class WireTimings(BaseModel):
    """Milliseconds: `queue` from capture to the start of work, `total` from capture to the finished result. In the
    result of a trigger, `trigger` from it to the last capture, `queue` from there, `total` from the trigger; the others
    are those of all views together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    queue: float
    gate: float
    preprocess: float
    vision: float
    prefill: float
    decode: float
    total: float
    trigger: float | None = None


class WireOutput(BaseModel):
    """What an output really did for a part. `done`: the other side has taken `state`, `at` that time, `after_ms` after
    the capture. `failed`: it has not, or nobody knows. `late`: the verdict came too late, and it was not done.
    `skipped`: it had nothing to do. `repeated`: it had been begun before a restart, and was not done again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    outcome: OutputOutcome
    state: Literal["on", "off"] | None = None
    at: datetime | None = None
    after_ms: float | None = None
    detail: str = ""


class WireError(BaseModel):
    """`code` is for programs, `message` for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    code: str
    message: str


class InspectionResult(Body):
    """On `result/{camera}`. `confidence` is a probability taken from the model's logits. With test-time augmentation a
    verdict that one view decided has the probability of that view, one of two views their mean.

    It is calibrated, as `fail_probability` is, where `calibrated` says so. `report` satisfies the camera's own JSON
    Schema, where it has one and the result is complete. With a gate (`lineside learn`), `decided_by` says whether its
    score was enough, and the probabilities of what it decided come from the score. `doubt` says why the verdict is
    `unsure` whatever the probability: the model was not taught such a part or picture, or the picture shows nothing
    (`decided_by` is `picture` then). Boxes are in pixels of the whole frame, as the camera's `rotate` turns it;
    `max_side` is what the frame itself asked for. `outputs` says by name what each did, where the station has any for
    this camera.

    On `result/{trigger}` it is that of a whole part, `camera` is the trigger's name: `fail` where the verdict of any of
    its `views` is, `pass` where all of its cameras' are, else `unsure`. `missing` names the cameras that have none.
    """

    SCHEMA: ClassVar[str] = "lineside.result/1"
    camera: str
    name: str = ""
    part_id: str = ""
    captured_at: datetime
    verdict: Verdict
    confidence: float
    fail_probability: float
    calibrated: bool = False
    defects: list[WireDefect]
    complete: bool
    finish_reason: str | None = None
    model: WireModel
    timing_ms: WireTimings
    frame_sha256: str
    late: bool | None = None
    max_side: int | None = None
    report: Any = None
    decided_by: Decider = "model"
    doubt: str | None = None
    gate: WireGate | None = None
    outputs: dict[str, WireOutput] | None = None
    trigger: WireTrigger | None = None
    views: list[WireView] | None = None
    missing: list[WireMissing] | None = None

    def encode(self) -> bytes:
        """A report may well be null: it is left out only where the camera has no schema."""
        body = self.model_dump(mode="json", exclude_none=True)
        if "report" in self.model_fields_set:
            body["report"] = self.report
        return json.dumps(body, ensure_ascii=False).encode()


class State(Body):
    """On `state/{camera}`, retained: the last verdict, for dashboards. `stale` says that the camera gives no pictures,
    so that the verdict is of a past that may be long gone; without a verdict there was none yet.
    """

    SCHEMA: ClassVar[str] = "lineside.state/1"
    stale: bool = False
    verdict: Verdict | None = None
    confidence: float | None = None
    result_id: str | None = None


class Event(Body):
    """On `event/{camera}`: something that is not a result.

    Frames of a camera that are rejected for the same reason within a second stand in one event: `count` of them, with
    the `part_ids` of those that had one; `error` is that of the last.

    A `camera_stale` gives no new pictures, `error` says why; `camera_back` when it does again. `pictures_changed`: its
    last ones are not as those that it learnt from, `error` says in what way; `pictures_as_before` when that is over,
    with the same code.
    """

    SCHEMA: ClassVar[str] = "lineside.event/1"
    event_type: Literal[
        "frame_rejected",
        "result_not_sent",
        "camera_stale",
        "camera_back",
        "camera_ended",
        "camera_failed",
        "pictures_changed",
        "pictures_as_before",
    ]
    camera: str
    name: str = ""
    part_id: str = ""
    error: WireError | None = None
    count: int | None = None
    part_ids: list[str] | None = None


class ToolEvent(Body):
    """On `event/{tool}`: a call waits for a person, or does not any more. Answer with a `Confirmation`."""

    SCHEMA: ClassVar[str] = "lineside.tool_event/1"
    event_type: Literal["confirmation_needed", "confirmation_ended"]
    tool: str
    call_id: str
    arguments: dict[str, Any] | None = None
    expires_at: datetime | None = None
    detail: str = ""


class OutputEvent(Body):
    """On `event/{output}`: it cannot be reached, `error` says why; or it can again. Each is said once."""

    SCHEMA: ClassVar[str] = "lineside.output_event/1"
    event_type: Literal["output_failed", "output_back"]
    output: str
    error: WireError | None = None


class StationEvent(Body):
    """On `event/station`: the station has changed, or was asked to and did not; `error` says why, all is as before.

    `station_changed`, `station_refused`: a station file, or settings from outside. Of a new `model` in turn
    `model_verified`, `model_tested` (its self-test), `model_compared` with the one that runs, and `model_switched`; or
    `model_refused`. After a start that found an installation cut short, `model_kept` or `model_switched` says which
    model runs. `detail` is for people.
    """

    SCHEMA: ClassVar[str] = "lineside.station_event/1"
    event_type: Literal[
        "station_changed",
        "station_refused",
        "model_verified",
        "model_tested",
        "model_compared",
        "model_switched",
        "model_refused",
        "model_kept",
    ]
    detail: str = ""
    model: WireModel | None = None
    error: WireError | None = None


class Confirmation(BaseModel):
    """On `confirm/{tool}`: a person's yes or no to the call `id`. Whoever may publish there may confirm."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    confirmed: bool
    by: str = Field(default="", max_length=200)


class CallReport(BaseModel):
    """One function call of a reply, with what really came of it.

    `code` says why a call was refused; `result` is what the tool gave back; `decided_by` says whether the sentence was
    a phrase of the station, meant the last call of its conversation, or the model chose the call; a `request` named
    the tool itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    name: str
    arguments: dict[str, Any]
    outcome: Outcome
    detail: str = ""
    code: str = ""
    result: Any = None
    decided_by: DecidedBy = "model"


class Reply(Body):
    """The answer to a command, on its response topic or `rsp/{command}`; `model` is the one that it was put to.

    Of a question with a `schema`, `answer` is the JSON that satisfies it; `frames` are the pictures that were shown.
    """

    SCHEMA: ClassVar[str] = "lineside.reply/1"
    command: str
    transaction: str = ""
    ok: bool
    text: str = ""
    answer: Any = None
    frames: list[ShownFrame] = Field(default_factory=list)
    calls: list[CallReport] = Field(default_factory=list)
    model: WireModel | None = None
    error: WireError | None = None
    timing_ms: dict[str, float] = Field(default_factory=dict)


class Call(Body):
    """On `call/{tool}`: do this. `id` is the call's own; answer on `ret/{tool}` with it."""

    SCHEMA: ClassVar[str] = "lineside.call/1"
    tool: str
    arguments: dict[str, Any]
    dry_run: bool = False
    expires_at: datetime


class Return(BaseModel):
    """What an actuator sends on `ret/{tool}`; further keys are let through for its own use."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str
    outcome: Literal["accepted", "achieved", "failed"]
    detail: str = ""
    result: Any = None


class WireSession(BaseModel):
    """What a model runs on, `tensorrt`, `cuda` or `cpu`, and why; `none` where it could not be opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    device: str
    reason: str


class Info(Body):
    """On `info`, retained: who answers here, and with what.

    `model` looks at frames. Commands are put to it, too, or to `commands_model` where there is one. A model that could
    not be opened has a `session` on the device `none`, with the reason. `stale` are cameras that give no pictures or
    are switched off. `group` is the base topic of the station's group, where it is in one. `triggers` names the cameras
    that each trigger looks with.
    """

    SCHEMA: ClassVar[str] = "lineside.info/1"
    version: str
    station: str
    model: WireModel
    session: WireSession
    commands_model: WireModel | None = None
    commands_session: WireSession | None = None
    cameras: list[str]
    stale: list[str] = Field(default_factory=list)
    triggers: dict[str, list[str]] | None = None
    commands: list[str]
    group: str | None = None
    tools: dict[str, dict[str, Any]]
    max_payload_bytes: int
    degraded: list[str]
    remote: WireRemote = Field(default_factory=WireRemote)


class FrameReference(BaseModel):
    """The body of `frame/{camera}` where it is JSON: a file on the station instead of the picture itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    part_id: str = ""
    max_side: int | None = Field(default=None, ge=SMALLEST_SIDE, le=LARGEST_SIDE)
    """Pixels of the longer side of what the model is shown, in place of the camera's own."""
