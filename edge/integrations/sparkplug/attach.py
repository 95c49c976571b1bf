"""The edge node of a running station."""

from __future__ import annotations

from typing import Protocol

from lineside import __version__
from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.frames.pipeline import Pipeline
from lineside.edge.integrations.sparkplug.node import SparkplugNode
from lineside.edge.integrations.sparkplug.waiting import WaitingResults
from lineside.edge.models import Models, NoModel, wire_model
from lineside.edge.triggers_config import alone
from lineside.edge.wire.messages import InspectionResult
from lineside.edge.wire.mqtt import Connection


class Station(Protocol):
    """What it needs of it."""

    config: Config
    counters: Counters
    degraded: Degraded
    connection: Connection
    pipeline: Pipeline
    models: Models


def open_sparkplug(station: Station) -> SparkplugNode:
    """Raises StoreError where what waits cannot be kept."""
    config, engine = station.config, station.models.frames_engine
    properties = {"Properties/Software": f"Lineside {__version__}", "Properties/Station": config.base_topic}
    if not isinstance(engine, NoModel):
        model = wire_model(engine.bundle)
        properties["Properties/Model"] = f"{model.name} {model.sha256}"
    node = SparkplugNode(
        config.sparkplug,
        config.sparkplug.edge_node_id or config.station.name,
        config.broker_access,
        config.mqtt.client_id or f"lineside-{config.station.name}",
        WaitingResults(config.data_path, config.sparkplug.max_waiting, station.degraded),
        lambda: _devices(station.config),
        properties,
        station.counters,
        station.degraded,
        station.connection,
    )
    give_out = station.pipeline.deliver

    def deliver(frame: Frame, result: InspectionResult) -> None:
        give_out(frame, result)
        node.tell(result)

    station.pipeline.deliver = deliver
    return node


def _devices(config: Config) -> list[str]:
    """Whatever has results: the triggers, and the cameras that are not looked at for a trigger alone."""
    for_triggers = alone(config.triggers)
    return [*(camera for camera in config.cameras if camera not in for_triggers), *config.triggers]
