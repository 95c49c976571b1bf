"""A station's figures for Prometheus: the same as `health` on MQTT, from the same message."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lineside.edge.address import show_address
from lineside.edge.config import MetricsConfig
from lineside.edge.errors import EdgeError, StoreError
from lineside.edge.wire.health import Health

log = logging.getLogger("lineside.metrics")
PREFIX = "lineside"
SERIES: dict[str, tuple[str, ...]] = {
    "frames_dropped": ("camera",),
    "frames_rejected": ("camera", "reason"),
    "reviews": ("camera", "verdict"),
    "results": ("camera", "decided_by", "verdict"),
    "results_incomplete": ("reason",),
    "commands_failed": ("reason",),
    "calls_refused": ("reason",),
    "calls_reported": ("decided_by", "outcome"),
    "tokens_prompt": ("kind",),
    "tokens_reused": ("kind",),
    "tokens_generated": ("kind",),
    "engine_requests": ("kind",),
    "http_requests": ("status",),
    "outputs": ("outcome", "output"),
    "sparkplug_sent": ("kind",),
    "triggers": ("trigger",),
    "triggers_rejected": ("reason", "trigger"),
    "views": ("camera", "verdict"),
    "views_missing": ("camera", "reason"),
}
"""Counters that are split, with their labels in order. Others have none."""
HISTOGRAMS = {
    "frame": ("stage", "From a frame's capture to its result, by stage."),
    "command": ("stage", "Answering a command, by stage."),
    "first_token": ("kind", "From the engine's request to the first token of its answer."),
    "generating": ("kind", "Writing an answer, token by token."),
}
"""Histograms with their label and what they are about; their names end in `_seconds`."""


PICTURES = {
    "brightness": "Of the last pictures; 1 is as usual.",
    "sharpness": "Of the last pictures; 1 is as usual.",
    "right_px": "By how many pixels the scene is further to the right.",
    "down_px": "By how many pixels the scene is further down.",
    "likeness": "Of the last pictures to those learnt from.",
    "gate_score": "Of the last pictures.",
    "unsure": "Share of `unsure` among the last verdicts.",
}
"""What the last pictures of a camera are held against those it learnt from by."""


class StationCollector(Collector):
    """Asks for the figures when somebody looks. `registry_of` gives it to whoever serves the page."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def describe(self) -> list[Metric]:
        """Nothing is asked for when it is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            health = self._health()
        except StoreError as error:
            log.error("no figures: %s", error)
            return
        yield from _counters(health)
        yield from _histograms(health)
        yield from _gauges(health)


def registry_of(health: Callable[[], Health]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StationCollector(health))
    return registry


class MetricsServer:
    """Serves `/metrics` on a thread of its own. Raises EdgeError where the port is taken."""

    def __init__(self, config: MetricsConfig, health: Callable[[], Health]) -> None:
        self._config, self._registry = config, registry_of(health)
        try:
            self._server, self._thread = start_http_server(config.port, config.address, self._registry)
        except OSError as error:
            where = show_address(config.address, config.port)
            raise EdgeError(f"`metrics.port`: {where} cannot be used ({error.strerror}): choose another") from error
        self.port = self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def _counters(health: Health) -> Iterator[Metric]:
    split: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
    for part in health.split:
        split[part.name][tuple(part.labels.get(label, "") for label in SERIES.get(part.name, ()))] = part.value
    for name, value in sorted(health.counters.items()):
        labels = SERIES.get(name, ())
        family = CounterMetricFamily(f"{PREFIX}_{name}", f"Counter {name} of health.", labels=labels)
        if not labels:
            family.add_metric((), value)
        for values, count in sorted(split[name].items()) if labels else ():
            family.add_metric(values, count)
        left = value - sum(split[name].values())
        if labels and left > 0:
            family.add_metric([""] * len(labels), left)
        yield family


def _histograms(health: Health) -> Iterator[Metric]:
    families: dict[str, HistogramMetricFamily] = {}
    bounds = [*(f"{bound / 1e3:g}" for bound in health.bounds_ms), "+Inf"]
    for found in health.histograms:
        label, about = HISTOGRAMS[found.name]
        family = families.setdefault(
            found.name, HistogramMetricFamily(f"{PREFIX}_{found.name}_seconds", about, labels=(label,))
        )
        cumulative = [sum(found.counts[: number + 1]) for number in range(len(found.counts))]
        buckets = [(bound, float(count)) for bound, count in zip(bounds, cumulative, strict=True)]
        family.add_metric((found.labels.get(label, ""),), buckets, found.sum_ms / 1e3)
    yield from families.values()


def _gauges(health: Health) -> Iterator[Metric]:
    yield _gauge("uptime_seconds", "Since the start.", {"": health.uptime_s})
    yield _gauge("outbox_messages", "Messages that wait for the broker.", {"": health.outbox_messages})
    yield _gauge("outbox_oldest_seconds", "How long the oldest of them waits.", {"": health.outbox_age_s or 0.0})
    queues = health.queues
    yield _gauge("queue_waiting", "What waits.", {name: queue.waiting for name, queue in queues.items()}, "queue")
    oldest = {name: queue.age_s or 0.0 for name, queue in queues.items()}
    yield _gauge("queue_oldest_seconds", "How long the oldest waits.", oldest, "queue")
    ages = {name: camera.age_s for name, camera in health.cameras.items() if camera.age_s is not None}
    yield _gauge("camera_age_seconds", "Age of a camera's newest frame.", ages, "camera")
    failing = {name: float(camera.error is not None) for name, camera in health.cameras.items()}
    yield _gauge("camera_error", "1 where a camera gives no pictures.", failing, "camera")
    yield from _pictures(health)
    yield _gauge("temperature_celsius", "Of the board.", health.board.temperature_c, "sensor")
    yield _gauge("power_watts", "Of the board.", health.board.power_w, "rail")
    models = GaugeMetricFamily(f"{PREFIX}_model_info", "Which model runs.", labels=("role", "name", "sha256"))
    for role, model in health.models.items():
        models.add_metric((role, model.name, model.sha256), 1)
    yield models


def _pictures(health: Health) -> Iterator[Metric]:
    """Of the cameras that learnt or were calibrated."""
    for name, about in PICTURES.items():
        found = {camera: getattr(each, name) for camera, each in health.pictures.items()}
        known = {camera: value for camera, value in found.items() if value is not None}
        yield _gauge(f"picture_{name}", about, known, "camera")
    changed = {camera: float(len(each.changed)) for camera, each in health.pictures.items()}
    yield _gauge("pictures_changed", "In how many ways they are not as those learnt from.", changed, "camera")


def _gauge(name: str, about: str, values: dict[str, float], label: str = "") -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", about, labels=(label,) if label else ())
    for of, value in values.items():
        family.add_metric((of,) if label else (), value)
    return family
