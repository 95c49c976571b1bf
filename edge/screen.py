"""What `lineside top` shows: a station as its own messages describe it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lineside.edge.wire.health import Health, WireHistogram
from lineside.edge.wire.messages import Event, Info, InspectionResult, State, ToolEvent

STYLES = {"pass": "green", "fail": "red", "unsure": "yellow", "online": "green", "offline": "red"}
EVENTS = 6
WATCHED = ("status", "info", "health", "state/+", "event/+", "result/+")
"""Topics below the station's base."""
LOSSES = ("frames_rejected", "frames_dropped", "calls_refused", "commands_failed", "results_incomplete")


class Screen:
    """Takes in messages, from one thread, and draws what is known. What is no message of Lineside's is passed over."""

    def __init__(self, base: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._base, self._clock = base, clock
        self._status = "unknown"
        self._info: Info | None = None
        self._before: Health | None = None
        self._health: Health | None = None
        self._heard = clock()
        self._states: dict[str, State] = {}
        self._results: dict[str, InspectionResult] = {}
        self._events: deque[str] = deque(maxlen=EVENTS)

    def take(self, topic: str, payload: bytes) -> None:
        kind, _, name = topic.removeprefix(f"{self._base}/").partition("/")
        try:
            self._take(kind, name, payload)
        except (ValidationError, UnicodeDecodeError):
            self._events.append(f"{topic}: not a message of this version")

    def _take(self, kind: str, name: str, payload: bytes) -> None:
        if kind == "status":
            self._status = payload.decode()
        elif not payload:
            return  # a retained message that was deleted
        elif kind == "info":
            self._info = Info.model_validate_json(payload)
        elif kind == "health":
            self._before, self._health = self._health, Health.model_validate_json(payload)
            self._heard = self._clock()
        elif kind == "state":
            self._states[name] = State.model_validate_json(payload)
        elif kind == "result":
            self._results[name] = InspectionResult.model_validate_json(payload)
        elif kind == "event":
            self._events.append(_event(payload))

    @property
    def complete(self) -> bool:
        return self._info is not None and self._health is not None

    def draw(self) -> RenderableType:
        parts: list[RenderableType] = [self._head()]
        if self._info is not None:
            parts += [Text(f"degraded  {sentence}", style="yellow") for sentence in self._info.degraded]
        if self._health is not None:
            parts += [self._cameras(self._health), self._stages(self._health), self._work(self._health)]
        parts += [Text(event) for event in self._events]
        return Panel(Group(*parts), title=self._base, title_align="left")

    def _head(self) -> Text:
        head = Text(self._status, style=STYLES.get(self._status, "yellow"))
        if self._info is not None:
            info = self._info
            head.append(f"  lineside {info.version}", style="default")
            head.append(f"  {info.model.name} {info.model.sha256[:12]} on {info.session.device}", style="default")
        if self._health is None:
            return head.append("  no health message yet", style="default")
        age = self._clock() - self._heard
        return head.append(f"  up {_span(self._health.uptime_s)}, heard {age:.0f} s ago", style="default")

    def _cameras(self, health: Health) -> Table:
        table = Table("camera", "verdict", "confidence", "age", "ms", "results", "rejected", "", expand=True, box=None)
        known = set(self._info.cameras if self._info is not None else ()) | set(health.cameras) | set(self._states)
        for name in sorted(known):
            state, camera = self._states.get(name, State()), health.cameras.get(name)
            result = self._results.get(name)
            verdict = Text(state.verdict or "-", style=STYLES.get(state.verdict or "", ""))
            table.add_row(
                name,
                verdict,
                "-" if state.confidence is None else f"{state.confidence:.2f}",
                "-" if camera is None or camera.age_s is None else f"{camera.age_s:.1f} s",
                "-" if result is None else f"{result.timing_ms.total:.0f}",
                str(_split(health, "results", camera=name)),
                str(_split(health, "frames_rejected", camera=name)),
                Text(camera.error.message if camera is not None and camera.error else "", style="red"),
            )
        return table

    def _stages(self, health: Health) -> Table:
        table = Table("time", "half within", "95 % within", "mean", "count", expand=True, box=None)
        for found in health.histograms:
            count = sum(found.counts)
            label = " ".join([found.name, *found.labels.values()])
            half, most = (_quantile(found, health.bounds_ms, share) for share in (0.5, 0.95))
            table.add_row(label, half, most, f"{found.sum_ms / max(count, 1):.1f} ms", str(count))
        return table

    def _work(self, health: Health) -> Text:
        counters = health.counters
        lines = [
            f"tokens    {self._tokens_per_s(health)}, "
            f"{_share(counters.get('tokens_reused', 0), counters.get('tokens_prompt', 0))} of prompts from the cache",
            "queues    "
            + ", ".join(f"{name} {queue.waiting}{_age(queue.age_s)}" for name, queue in health.queues.items())
            + f", outbox {health.outbox_messages}{_age(health.outbox_age_s)}, "
            f"refused publishes {counters.get('outbox_refused', 0)}",
            *(_reasons(health, name) for name in LOSSES if counters.get(name)),
        ]
        sensors = [f"{name} {value:.0f} °C" for name, value in health.board.temperature_c.items()]
        sensors += [f"{name} {value:.1f} W" for name, value in health.board.power_w.items()]
        return Text("\n".join([*lines, *([f"board     {', '.join(sensors)}"] if sensors else [])]))

    def _tokens_per_s(self, health: Health) -> str:
        """Between the last two messages where tokens came, else since the start."""
        for before in (self._before, None):
            tokens, ms = _written(health)
            earlier, earlier_ms = _written(before) if before is not None else (0, 0.0)
            if tokens - earlier > 0 and ms - earlier_ms > 0:
                return f"{(tokens - earlier) / (ms - earlier_ms) * 1e3:.1f}/s"
        return "none yet"


def _written(health: Health) -> tuple[int, float]:
    """Tokens, and the milliseconds that they took."""
    ms = sum(found.sum_ms for found in health.histograms if found.name == "generating")
    return health.counters.get("tokens_generated", 0), ms


def _event(payload: bytes) -> str:
    try:
        event = Event.model_validate_json(payload)
    except ValidationError:
        tool = ToolEvent.model_validate_json(payload)
        return f"{tool.ts:%H:%M:%S}  {tool.event_type} {tool.tool} {tool.detail}".rstrip()
    error: Any = event.error
    times = f" x{event.count}" if event.count else ""
    return f"{event.ts:%H:%M:%S}  {event.event_type} {event.camera}{times} {error.message if error else ''}".rstrip()


def _split(health: Health, name: str, **labels: str) -> int:
    return sum(part.value for part in health.split if part.name == name and labels.items() <= part.labels.items())


def _reasons(health: Health, name: str) -> str:
    """A counter with its parts, the largest first."""
    parts = sorted((part for part in health.split if part.name == name), key=lambda part: -part.value)
    told = ", ".join(f"{' '.join(part.labels.values())} {part.value}" for part in parts)
    return f"{name.replace('_', ' ')} {health.counters[name]}: {told}"


def quantile_ms(found: WireHistogram, bounds_ms: list[float], share: float) -> float | None:
    """The bound of the bucket in which it falls; None where it is beyond the last."""
    wanted, seen = share * sum(found.counts), 0
    for bound, count in zip(bounds_ms, found.counts, strict=False):
        seen += count
        if seen >= wanted:
            return bound
    return None


def _quantile(found: WireHistogram, bounds_ms: list[float], share: float) -> str:
    bound = quantile_ms(found, bounds_ms, share)
    return f"over {bounds_ms[-1]:g} ms" if bound is None else f"{bound:g} ms"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def _age(seconds: float | None) -> str:
    return "" if seconds is None else f" (oldest {seconds:.1f} s)"


def _span(seconds: float) -> str:
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return (
        f"{hours // 24} d {hours % 24} h"
        if hours >= 24
        else f"{hours} h {minutes % 60} min"
        if hours
        else f"{minutes} min"
    )
