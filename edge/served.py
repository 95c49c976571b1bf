"""What a daemon serves where it is asked for; the libraries are loaded then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lineside.edge.config import MetricsConfig
from lineside.edge.wire.messages import Health

if TYPE_CHECKING:
    from lineside.edge.http.station import Served, StationServer
    from lineside.edge.metrics import MetricsServer


def serve_metrics(config: MetricsConfig, health: Callable[[], Health]) -> MetricsServer | None:
    """Raises EdgeError where the port cannot be had."""
    if not config.port:
        return None
    from lineside.edge.metrics import MetricsServer

    return MetricsServer(config, health)


def serve_http(station: Served) -> StationServer | None:
    """Raises ConfigError, EdgeError where it cannot be served."""
    if not station.config.http.port:
        return None
    from lineside.edge.http.station import StationServer

    return StationServer(station)
