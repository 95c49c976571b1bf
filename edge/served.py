"""What a daemon serves where it is asked for; the libraries are loaded then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lineside.edge.calls.bindings import Binding
from lineside.edge.config import Config, MetricsConfig
from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.wire.access import Access
from lineside.edge.wire.health import Health
from lineside.edge.wire.mqtt import Connection
from lineside.edge.wire.store import Store

if TYPE_CHECKING:
    from typing import Protocol

    from lineside.edge.http.station import Served, StationServer
    from lineside.edge.integrations.mcp.servers import McpServers
    from lineside.edge.integrations.zigbee.devices import ZigbeeDevices
    from lineside.edge.metrics import MetricsServer
    from lineside.edge.page.routes import Page
    from lineside.edge.page.shown import Shown

    class _Station(Served, Shown, Protocol):
        """What is served, and shown."""


def start_servers(config: Config, degraded: Degraded) -> McpServers | None:
    """They come up while the models are loaded."""
    if not config.mcp:
        return None
    from lineside.edge.integrations.mcp.servers import McpServers

    return McpServers(config, degraded)


def read_devices(
    config: Config, client_id: str, store: Store, counters: Counters, degraded: Degraded
) -> ZigbeeDevices | None:
    """Those of Zigbee2MQTT that the station file names, as they are now."""
    if not config.zigbee2mqtt.devices:
        return None
    from lineside.edge.integrations.zigbee.devices import ZigbeeDevices

    return ZigbeeDevices(config, Access(client_id, store.session_mark, counters, degraded))


def bindings_of(
    servers: McpServers | None, devices: ZigbeeDevices | None, connection: Connection
) -> dict[str, Binding]:
    """Those of tools that do not stand in the station file alone."""
    found: dict[str, Binding] = {"mcp": servers} if servers is not None else {}
    if devices is not None:
        from lineside.edge.integrations.zigbee.devices import ZigbeeBinding

        found["zigbee2mqtt"] = ZigbeeBinding(devices, connection)
    return found


def serve_metrics(config: MetricsConfig, health: Callable[[], Health]) -> MetricsServer | None:
    """Raises EdgeError where the port cannot be had."""
    if not config.port:
        return None
    from lineside.edge.metrics import MetricsServer

    return MetricsServer(config, health)


def serve_http(station: _Station) -> tuple[StationServer, Page] | tuple[None, None]:
    """The server, and the page that it serves. Raises ConfigError, EdgeError where they cannot be."""
    if not station.config.http.port:
        return None, None
    from lineside.edge.http.station import StationServer
    from lineside.edge.page.routes import Page

    page = Page(station)
    try:
        return StationServer(station, page.routes), page
    except BaseException:
        page.close()
        raise
