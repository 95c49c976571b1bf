"""Outputs on machines of the test's own, with a real store and outbox behind them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from lineside.devices.cameras.frame import Frame
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.answers import Answers
from lineside.edge.outputs.outputs import Outputs
from lineside.edge.outputs.trouble import Trouble
from lineside.edge.outputs.wires import Wire
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.wire.messages import InspectionResult, Verdict, WireModel, WireTimings
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.topics import Topics
from tests.support.wait import until
from tests.support.wires import Machine

TOPICS = Topics("plant/cell")
TIMINGS = WireTimings(queue=0, gate=0, preprocess=0, vision=0, prefill=0, decode=0, total=0)


class Unsent:
    """An outbox that leaves everything in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, message: Outgoing, answers: Any = None, *, lasting: bool = True) -> None:
        self._store.enqueue(message, answers, lasting=lasting)

    def wake(self) -> None:
        """Nobody sends."""


class Station:
    """`with Station(tmp_path, reject=OutputConfig(...)) as station:` then `station.verdict("fail")`.

    Attributes:
        machines: what is at the other end of each output.
        unfit: why the outputs must hold their safe state.
        lives: whether the pipeline is alive.
    """

    def __init__(self, folder: Path, *, wires: Mapping[str, Wire] | None = None, **outputs: OutputConfig) -> None:
        self.store = Store(folder / "lineside.db", 1000)
        self.counters, self.degraded = Counters(), Degraded()
        outbox = cast(Outbox, Unsent(self.store))
        self.answers = Answers(TOPICS, self.store, outbox, self.counters)
        self.machines = {name: Machine() for name in outputs}
        self.unfit, self.lives = "", True
        trouble = Trouble(TOPICS, outbox.put, self.degraded, self.counters)
        self.outputs = Outputs(
            outputs, wires or self.machines, self.answers, trouble, 600.0, lambda _: self.unfit, lambda: self.lives
        )
        self.answers.rejected.append(self.outputs.rejected)

    def __enter__(self) -> Station:
        self.answers.start()
        self.outputs.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.outputs.close()
        self.answers.close()
        self.store.close()

    def verdict(
        self, verdict: Verdict, camera: str = "top", *, age_s: float = 0.0, part: str = "", known: bool = True
    ) -> str:
        """Deliver a result of a frame captured so long ago; returns its id."""
        moment = time.monotonic() - age_s
        frame = Frame(camera, captured_at=datetime.now(UTC), received=moment, part_id=part, moment_known=known)
        self.outputs.deliver(frame, result_of(frame, verdict))
        return frame.id

    def results(self) -> dict[str, dict[str, Any]]:
        """Those that went out, by their id."""
        return {body["id"]: body for body in self._bodies() if "verdict" in body}

    def outputs_of(self, result: str) -> dict[str, Any]:
        """What its outputs did, once it went out."""
        until(lambda: result in self.results())
        return dict(self.results()[result].get("outputs", {}))

    def events(self) -> list[str]:
        return [body["event_type"] for body in self._bodies() if "event_type" in body]

    def _bodies(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.store.pending(0, 1000)]


def result_of(frame: Frame, verdict: Verdict) -> InspectionResult:
    return InspectionResult(
        id=frame.id,
        camera=frame.camera,
        part_id=frame.part_id,
        captured_at=frame.captured_at,
        verdict=verdict,
        confidence=0.9,
        fail_probability=0.9,
        defects=[],
        complete=True,
        model=WireModel(name="m", sha256="0" * 64),
        timing_ms=TIMINGS,
        frame_sha256="0" * 64,
    )
