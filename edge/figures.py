"""A station's figures in one message, for `health` and for Prometheus: both tell the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lineside.devices.board import read_board
from lineside.edge.counters import BOUNDS_MS, Counters
from lineside.edge.models import Models, wire_model
from lineside.edge.wire.health import Health, WireBoard, WireCamera, WireHistogram, WireQueue, WireSplit
from lineside.edge.wire.messages import WireModel
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Store
from lineside.edge.wire.watched import WireWatched
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.timings import Spent

KINDS = {Priority.COMMAND: "command", Priority.FRAME: "frame", Priority.GUEST: "guest", Priority.TRIAL: "trial"}
"""The label of the engine's figures: for whom it worked."""


class Queue(Protocol):
    def waiting(self) -> tuple[int, float | None]:
        """How many wait, and for how many seconds the oldest has."""
        ...


@dataclass(frozen=True)
class Cameras:
    """Asked for whether they give pictures, and for how these are; each by camera."""

    health: Callable[[], dict[str, WireCamera]]
    pictures: Callable[[], dict[str, WireWatched]]


class Figures:
    """Looks at the daemon's parts when it is asked; any thread may ask.

    Args:
        queues: what may wait, by name.
    """

    def __init__(
        self,
        counters: Counters,
        store: Store,
        outbox: Outbox,
        models: Models,
        cameras: Cameras,
        queues: dict[str, Queue],
    ) -> None:
        self._counters, self._store, self._outbox = counters, store, outbox
        self._cameras, self._queues = cameras, queues
        self._started = time.monotonic()
        self.exchange(models)

    def add_queue(self, name: str, queue: Queue) -> None:
        self._queues[name] = queue

    def exchange(self, models: Models) -> None:
        """The models that run from now on are counted."""
        for model in models.opened():
            model.engine.on_ended = self._ended
        self._models = models

    def health(self) -> Health:
        """Raises StoreError."""
        waiting = {name: queue.waiting() for name, queue in self._queues.items()}
        board = read_board()
        return Health(
            uptime_s=round(time.monotonic() - self._started, 1),
            counters=self._counters.snapshot() | self._caches(),
            outbox_messages=self._store.outbox_size(),
            outbox_age_s=_rounded(self._outbox.oldest_s()),
            cameras=self._cameras.health(),
            pictures=self._cameras.pictures(),
            queues={name: WireQueue(waiting=count, age_s=_rounded(age)) for name, (count, age) in waiting.items()},
            split=[
                WireSplit(name=name, labels=dict(labels), value=value)
                for (name, labels), value in sorted(self._counters.split().items())
            ],
            bounds_ms=list(BOUNDS_MS),
            histograms=[
                WireHistogram(name=name, labels=dict(labels), counts=list(found.counts), sum_ms=round(found.sum_ms, 2))
                for (name, labels), found in sorted(self._counters.histograms().items())
            ],
            models=self._wire_models(),
            board=WireBoard(temperature_c=board.temperature_c, power_w=board.power_w),
        )

    def _wire_models(self) -> dict[str, WireModel]:
        frames, commands = self._models.frames, self._models.commands
        models = {"frames": wire_model(frames)}
        return models if commands is frames else models | {"commands": wire_model(commands)}

    def _caches(self) -> dict[str, int]:
        """Pictures whose embeddings were remembered, and those that were not."""
        caches = [cache for model in self._models.opened() if (cache := model.engine.vision_cache) is not None]
        found = {"vision_cache_hits": sum(c.hits for c in caches), "vision_cache_misses": sum(c.misses for c in caches)}
        return {name: value for name, value in found.items() if value}

    def _ended(self, request: Request, spent: Spent) -> None:
        kind = KINDS[request.priority]
        counts = spent.counts
        tokens = {"prompt": counts.prompt, "reused": counts.reused, "generated": counts.generated}
        for name, value in tokens.items():
            self._counters.add(f"tokens_{name}", value, kind=kind)
        self._counters.add("engine_requests", kind=kind)
        if spent.first_token_ms is not None:
            self._counters.observe("first_token", spent.first_token_ms, kind=kind)
        if counts.generated:
            self._counters.observe("generating", spent.timings.decode_ms, kind=kind)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
