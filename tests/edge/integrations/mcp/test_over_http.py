"""The reference server over HTTP, on the loopback interface."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import SecretStr

from lineside.edge.integrations.mcp import transport
from lineside.edge.mcp_config import McpConfig, McpToolConfig
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.engine import Engine
from tests.support.mcp_station import Station
from tests.support.wait import LIMIT_S, until


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = MCPServer("reference", log_level="ERROR")

    @server.tool()
    def add(a: int, b: int, context: Context) -> int:
        """Add two numbers."""
        headers = context.headers or {}
        if headers.get("authorization") != "Bearer abc":
            raise ValueError("who are you?")
        return a + b

    @server.tool()
    def long() -> str:
        """Say a lot."""
        return "x" * 300_000

    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    app = server.streamable_http_app(json_response=True)
    running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=running.run, args=([free],))
    thread.start()
    until(lambda: running.started)
    yield f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    running.should_exit = True
    thread.join(LIMIT_S)
    free.close()


def test_its_tools_are_called_with_the_station_s_headers(
    random_engine: Engine, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy of the environment is asked, and no response is longer than the station takes."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(transport, "MAX_MESSAGE_BYTES", 100_000)
    named = {name: McpToolConfig(wait_s=LIMIT_S) for name in ("add", "long")}
    config = McpConfig(url=url, headers={"Authorization": SecretStr("Bearer abc")}, start_s=LIMIT_S, tools=named)
    station = Station(random_engine, tmp_path, reference=config)
    try:
        assert set(station.tools) == {"add", "long"}
        done = station.call(ToolCall("abc123DEF", "add", {"a": 2, "b": 3}))
        assert (done.outcome, done.result) == ("achieved", {"result": 5})
        refused = station.call(ToolCall("abc123DEF", "long", {}))
        assert refused.outcome == "expired"
        assert "it may have been carried out" in refused.detail
    finally:
        station.servers.close()
