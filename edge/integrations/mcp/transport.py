"""How a server is reached: as a process of ours, or over HTTP. Only what the station file names is contacted."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from lineside.edge.integrations.mcp import guard
from lineside.edge.mcp_config import McpConfig
from lineside.edge.secret_value import value_of

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a message from a server, in either way."""


@asynccontextmanager
async def connect(name: str, config: McpConfig, folder: Path) -> AsyncIterator[Any]:
    """The two streams of a connection. Leaving it ends the server's process and all that it started."""
    if config.command:
        env = {key: value_of(secret, f"mcp.{name}.env.{key}") for key, secret in config.env.items()}
        own = ["-I", "-S", guard.__file__, str(os.getpid()), str(MAX_MESSAGE_BYTES)]
        server = StdioServerParameters(command=sys.executable, args=[*own, *config.command], env=env, cwd=folder)
        async with stdio_client(server, sys.__stderr__ or sys.stderr) as streams:
            yield streams
        return
    headers = {key: value_of(secret, f"mcp.{name}.headers.{key}") for key, secret in config.headers.items()}
    transport = Bounded(httpx2.AsyncHTTPTransport())
    # Without the environment's proxies; the station says how long it waits.
    async with (
        httpx2.AsyncClient(headers=headers, transport=transport, trust_env=False, timeout=None) as client,
        streamable_http_client(config.url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES) as streams,
    ):
        yield streams


class Bounded(httpx2.AsyncBaseTransport):
    """Ends a response that is too long. A stream of events may go on; each event is bounded where it is read."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if "text/event-stream" not in response.headers.get("content-type", ""):
            response.stream = _Counted(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > MAX_MESSAGE_BYTES:
                raise httpx2.ReadError(f"the response has more than {MAX_MESSAGE_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
