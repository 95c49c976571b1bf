"""Verdicts as they are kept, and what is searched for among them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from lineside.edge.wire.messages import Verdict

FrameKind = Literal["", "came", "png"]
"""`came`: the bytes that came; `png`: the pixels of a video or a device; empty where none was kept."""


@dataclass(frozen=True)
class Record:
    """One verdict, with what it was made from.

    Attributes:
        id: of the result.
        captured_at, kept_at: Unix times.
        result: the message as it was sent, JSON.
        views: JSON, for each time that the model was asked: `prompt_sha256`, `tokens`, `probabilities`,
            `finish_reason`.
        setup: the digest of the `Setup` that it was made with.
        frame: path below the history's folder; empty where it was not kept.
        frame_bytes, evidence_bytes: 0 once they went.
        evidence: the drawn picture's whole path; empty where none was wanted.
        expired_at: Unix time when frame and evidence went, to make room or for their age; None while they are there.
    """

    id: str
    camera: str
    name: str
    part_id: str
    captured_at: float
    kept_at: float
    verdict: Verdict
    decided_by: str
    confidence: float
    result: str
    views: str
    setup: str
    frame: str = ""
    frame_kind: FrameKind = ""
    frame_bytes: int = 0
    evidence: str = ""
    evidence_bytes: int = 0
    expired_at: float | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The result's message."""
        return dict(json.loads(self.result))

    @property
    def row_bytes(self) -> int:
        """What it takes in the database, about."""
        return len(self.result) + len(self.views) + ROW_BYTES


ROW_BYTES = 400
COLUMNS = tuple(field.name for field in fields(Record))


@dataclass(frozen=True)
class Setup:
    """What results of a camera were made with: model, device, task, thresholds; `body` is JSON, `digest` its SHA-256.

    See `edge.history.setups` for the keys.
    """

    digest: str
    body: str


@dataclass(frozen=True)
class Query:
    """Which verdicts; whatever is left empty says nothing.

    Attributes:
        part: a part's id; `*` stands for anything.
        since, until: by the time of capture.
        newest_first: else the oldest.
        limit: at most so many; 0 for all.
    """

    camera: str = ""
    part: str = ""
    verdicts: tuple[Verdict, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = True
    limit: int = 0
