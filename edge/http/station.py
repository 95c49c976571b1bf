"""What a station serves over HTTP, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.routing import BaseRoute

from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.http.auth import read_keys
from lineside.edge.http.completions import Completions
from lineside.edge.http.health import HEALTH_PATH, health_route
from lineside.edge.http.server import HttpServer
from lineside.edge.models import Models
from lineside.edge.pulse import Pulse


class Served(Protocol):
    """A station, of which settings and models may change while it is served."""

    config: Config
    models: Models
    counters: Counters
    pulse: Pulse


class StationServer:
    """Listens from the beginning, and answers between `start` and `close`. Raises ConfigError, EdgeError.

    Args:
        others: what is served beside `/v1` and `/healthz`, behind the same door.
    """

    def __init__(self, station: Served, others: Sequence[BaseRoute] = ()) -> None:
        self._completions = Completions(lambda: station.config, lambda: station.models)
        routes = [*self._completions.routes, health_route(station.pulse), *others]
        http = station.config.http
        self._server = HttpServer(http, read_keys(station.config), routes, station.counters, {HEALTH_PATH})
        self.port = self._server.port

    def start(self) -> None:
        self._server.start()

    def close(self) -> None:
        self._completions.close()
        self._server.close()
