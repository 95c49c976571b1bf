"""All servers of a station, on one loop in a thread of its own, and the binding that calls their tools."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace

from anyio.from_thread import start_blocking_portal

from lineside.edge.calls.bindings import Done
from lineside.edge.config import Config
from lineside.edge.degraded import Degraded
from lineside.edge.errors import ConfigError
from lineside.edge.integrations.mcp.connection import UNSURE, ServerConnection
from lineside.edge.integrations.mcp.listing import declared
from lineside.edge.mcp_config import McpToolConfig
from lineside.edge.models import NoModel
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.engine import Engine

log = logging.getLogger("lineside.mcp")
CLOSE_S = 10.0


class McpServers:
    """Starts them at once, so that they come up while the models are loaded. It is a binding for calls, too."""

    def __init__(self, config: Config, degraded: Degraded) -> None:
        self._config, self._degraded = config, degraded
        self._closed = threading.Event()
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio", name="mcp"))
        self._connections: dict[str, ServerConnection] = {}
        self._running: list[Future[None]] = []
        self._started = time.monotonic()
        for name, server in config.mcp.items():
            connection = self._portal.call(ServerConnection, name, server, config.folder, degraded)
            self._connections[name] = connection
            self._running.append(self._portal.start_task_soon(connection.run, name=f"mcp.{name}"))
        self._where = {
            tool: (self._connections[name], settings.called(tool))
            for name, server in config.mcp.items()
            for tool, settings in server.tools.items()
        }

    def tools(self, engine: Engine | NoModel) -> Mapping[str, McpToolConfig]:
        """Those that can be offered, once the servers have listed them or their time is over. Of the others
        `degraded` says why not.
        """
        offered = {}
        for name, connection in self._connections.items():
            left_s = self._started + connection.config.start_s - time.monotonic()
            in_time = connection.answered.wait(max(left_s, 0.0))
            for tool, settings in connection.config.tools.items():
                listed = connection.first.get(settings.called(tool)) if in_time else None
                key = f"mcp.{name}.tools.{tool}"
                try:
                    if not in_time and not settings.parameters:
                        raise ConfigError(
                            f"its server did not list its tools within {connection.config.start_s:g} s: start the "
                            f"station again when it does, raise `mcp.{name}.start_s`, or state `{key}.parameters`"
                        )
                    offered[tool] = declared(tool, settings, listed, self._config, engine)
                except ConfigError as error:
                    self._degraded.set(key, f"{key} is not offered: {error}")
                    log.warning("%s is not offered: %s", key, error)
        return offered

    def with_tools(self, config: Config, engine: Engine | NoModel) -> Config:
        """The station with what is offered. What is not undoes nothing: an `opposite` that is not there is left out,
        so that what a server does keeps no station from starting.
        """
        tools = {**config.tools, **self.tools(engine)}
        missing = self._where.keys() - tools.keys()
        kept = {name: replace(tool, opposite="") if tool.opposite in missing else tool for name, tool in tools.items()}
        return replace(config, tools=kept)

    def invoke(self, call: ToolCall, tool: ToolConfig, waiting: Callable[[], None]) -> Done:
        """As `edge.calls.bindings.Binding`: what the server says, in its time."""
        connection, called = self._where[call.name]
        future: Future[Done] = self._portal.start_task_soon(connection.call, called, call.arguments, tool.wait_s)
        waiting()
        if not tool.wait_s:
            return Done("issued")
        while not self._closed.is_set():
            try:
                return future.result(0.2)
            except TimeoutError:
                continue
        return Done("issued", f"the station stopped before the answer came: {UNSURE}")

    def close(self) -> None:
        """End every wait, and every server that was started here."""
        if self._closed.is_set():
            return
        self._closed.set()
        for connection in self._connections.values():
            self._portal.start_task_soon(_called, connection.close)
        wait(self._running, CLOSE_S)
        self._portal.call(self._portal.stop, True)
        self._stack.close()


async def _called(function: Callable[[], None]) -> None:
    function()
