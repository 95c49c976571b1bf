"""What the page shows of a station, as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Protocol

from lineside import __version__
from lineside.edge.calls.calls import Calls
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.figures import Figures
from lineside.edge.frames.last_state import LastState
from lineside.edge.frames.switches import Switches
from lineside.edge.history.keeper import History
from lineside.edge.history.records import Query, Record
from lineside.edge.screen import quantile_ms
from lineside.edge.wire.health import Health, WireHistogram
from lineside.edge.wire.messages import Verdict
from lineside.edge.wire.mqtt import Connection

VERDICTS_SHOWN = 24


class Reload(Protocol):
    def reopen(self) -> None:
        """Take up gates and calibrations anew. Raises EdgeError, EngineError, and then the old ones go on."""


class Shown(Protocol):
    """The station behind the page; its settings may change while it is shown."""

    config: Config
    counters: Counters
    degraded: Degraded
    figures: Figures
    connection: Connection
    history: History
    last_state: LastState
    switches: Switches
    calls: Calls

    @property
    def reloader(self) -> Reload: ...


def state_of(station: Shown, allowed: Collection[str]) -> dict[str, Any]:
    """Everything that changes. Raises StoreError."""
    config, health = station.config, station.figures.health()
    return {
        "station": config.station.name,
        "version": __version__,
        "online": station.connection.connected.is_set(),
        "uptime_s": health.uptime_s,
        "models": {role: model.model_dump() for role, model in (health.models or {}).items()},
        "degraded": station.degraded.sentences(),
        "cameras": [_camera(station, name, health) for name in sorted(config.cameras)],
        "triggers": [_camera(station, name, health) for name in sorted(config.triggers)],
        "stages": [_stage(found, health.bounds_ms) for found in health.histograms if found.name in STAGED],
        "queues": {name: queue.model_dump() for name, queue in health.queues.items()},
        "outbox": health.outbox_messages,
        "waiting": [asked.model_dump(mode="json") for asked in station.calls.confirmations.waiting()],
        "verdicts": _verdicts(station.history),
        "may": sorted(allowed),
    }


STAGED = ("frame", "command")


def _camera(station: Shown, name: str, health: Health) -> dict[str, Any]:
    """Of a camera what its pictures were by themselves and as views of parts; of a trigger what its parts were."""
    seen, age = station.last_state.of(name), health.cameras.get(name)
    counts = {
        verdict: sum(
            split.value
            for split in health.split
            if split.name in ("results", "views")
            and split.labels.get("camera") == name
            and split.labels.get("verdict") == verdict
        )
        for verdict in ("pass", "fail", "unsure")
    }
    return {
        "name": name,
        "age_s": age.age_s if age is not None else None,
        "error": age.error.message if age is not None and age.error is not None else None,
        "stale": seen.stale,
        "verdict": seen.verdict,
        "confidence": seen.confidence,
        "result_id": seen.result_id,
        "inspected": station.switches.inspected(name),
        "counts": counts,
    }


def _stage(found: WireHistogram, bounds_ms: list[float]) -> dict[str, Any]:
    return {
        "of": found.name,
        "stage": found.labels.get("stage", ""),
        "count": sum(found.counts),
        "median_ms": quantile_ms(found, bounds_ms, 0.5),
        "p99_ms": quantile_ms(found, bounds_ms, 0.99),
    }


def _verdicts(history: History) -> list[dict[str, Any]]:
    records = history.search(Query(limit=VERDICTS_SHOWN))
    said = history.reviews_of([record.id for record in records])
    return [_verdict(record, said.get(record.id)) for record in records]


def _verdict(record: Record, said: Verdict | None) -> dict[str, Any]:
    """A kept verdict with what a person said of it."""
    body = json.loads(record.result)
    return {
        "id": record.id,
        "camera": record.camera,
        "part_id": record.part_id,
        "captured_at": body["captured_at"],
        "verdict": record.verdict,
        "confidence": record.confidence,
        "decided_by": record.decided_by,
        "doubt": body.get("doubt") or "",
        "defects": [defect["type"] for defect in body.get("defects", ())],
        "pictured": bool(record.frame or body.get("views")) and record.expired_at is None,
        "reviewed": said,
    }
