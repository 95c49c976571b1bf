"""One server of the station file: connected to, looked at again and again, and connected to anew when it is gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp_types import CONNECTION_CLOSED, CallToolResult, Implementation, PaginatedRequestParams, TextContent

from lineside import __version__
from lineside.edge.calls.bindings import Done
from lineside.edge.degraded import Degraded
from lineside.edge.integrations.mcp.listing import Listed, changes, plain
from lineside.edge.integrations.mcp.transport import connect
from lineside.edge.mcp_config import McpConfig

log = logging.getLogger("lineside.mcp")
LOOK_EVERY_S = 15.0
ANSWER_S = 10.0
"""For a listing, and for a call that nobody waits for."""
AGAIN_S, AGAIN_AT_MOST_S = 1.0, 60.0
"""Before the next try to connect, doubled with each; again from the beginning after a connection that held."""
MAX_PAGES = 50
CLOSED = (CONNECTION_CLOSED, "Connection closed")
"""How the library says it; servers use the code for errors of their own."""
REFUSED = "mcp_unavailable"
UNSURE = "it may have been carried out"


class ServerConnection:
    """Everything runs on the loop of `edge.integrations.mcp.servers`, except where it says so.

    Attributes:
        answered: set, for any thread, when the server has listed its tools for the first time.
        first: each tool as it was first listed, by the server's own names; nothing else is ever called.
    """

    def __init__(self, name: str, config: McpConfig, folder: Path, degraded: Degraded) -> None:
        self.name, self.config = name, config
        self._folder, self._degraded = folder, degraded
        self.answered = threading.Event()
        self.first: dict[str, Listed] = {}
        self._now: dict[str, Listed] = {}
        self._changed: dict[str, str] = {}
        self._client: Client | None = None
        self._problem = "it is being started" if config.command else "it is being connected to"
        self._look_now = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Until `close`. Whatever the server does ends a connection at the worst."""
        delay_s = AGAIN_S
        with self._scope:
            while True:
                began = anyio.current_time()
                try:
                    await self._hold()
                except Exception as error:  # noqa: BLE001 - a stranger's program, behind a library with many errors
                    self._problem = self._said(error)
                finally:
                    self._client = None
                if anyio.current_time() - began > AGAIN_AT_MOST_S:
                    delay_s = AGAIN_S
                self._say(f"{self._problem}; tried again in {delay_s:g} s")
                await anyio.sleep(delay_s)
                delay_s = min(2 * delay_s, AGAIN_AT_MOST_S)

    def close(self) -> None:
        self._scope.cancel()

    async def _hold(self) -> None:
        """Connect, and stay until the server does not answer any more."""
        client = Client(
            connect(self.name, self.config, self._folder),
            cache=None,
            client_info=Implementation(name="lineside", version=__version__),
        )
        with anyio.fail_after(self.config.start_s) as starting:
            async with client:
                await self._look(client)
                starting.deadline = float("inf")
                self._client = client
                self._degraded.clear(f"mcp.{self.name}")
                log.info("mcp.%s: %d tools", self.name, len(self._now))
                while True:
                    self._look_now = anyio.Event()
                    with anyio.move_on_after(LOOK_EVERY_S):
                        await self._look_now.wait()
                    with anyio.fail_after(ANSWER_S):
                        await self._look(client)

    async def _look(self, client: Client) -> None:
        """List the tools, and see whether one is not what it was."""
        listed: dict[str, Listed] = {}
        cursor = None
        for _ in range(MAX_PAGES):
            page = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            listed |= {tool.name: Listed(tool.description or "", tool.input_schema) for tool in page.tools}
            cursor = page.next_cursor
            if cursor is None:
                break
        self._now = listed
        for name, changed in changes(self.first, listed):
            self._changed.setdefault(name, changed)
        self.first = listed | self.first
        self.answered.set()
        self._say_tools()

    def refusal(self, tool: str) -> str:
        """Why the server's `tool` is not called now; nothing where it may be."""
        if self._client is None:
            return f"the server mcp.{self.name} is not there: {self._problem}"
        if tool in self._changed:
            return (
                f"mcp.{self.name} has changed the {self._changed[tool]} of {plain(tool)} since the station started: "
                "look at what it is now, and start the station again"
            )
        if tool not in self._now:
            return f"mcp.{self.name} does not list {plain(tool)} any more"
        return ""

    async def call(self, tool: str, arguments: Mapping[str, Any], wait_s: float) -> Done:
        """What came of it. The listing is looked at first: a tool that is not what it was is not called."""
        client = self._client
        begun = False
        try:
            with anyio.fail_after(wait_s or ANSWER_S):
                if client is not None:
                    await self._look(client)
                if client is None or self.refusal(tool):
                    return Done("refused", self.refusal(tool), code=REFUSED)
                begun = True
                return _done(await client.session.call_tool(tool, dict(arguments)))
        except TimeoutError:
            problem = f"mcp.{self.name} did not answer within {wait_s or ANSWER_S:g} s"
        except MCPError as error:
            if (error.code, error.message) != CLOSED:
                return Done("failed", f"mcp.{self.name}: {self._said(error)}")
            problem = f"the connection to mcp.{self.name} ended before the answer"
        except Exception as error:  # noqa: BLE001 - as in `run`
            problem = f"mcp.{self.name}: {self._said(error)}"
        self._look_now.set()
        return Done("expired", f"{problem}: {UNSURE}") if begun else Done("refused", problem, code=REFUSED)

    def _say(self, problem: str) -> None:
        self._degraded.set(f"mcp.{self.name}", f"mcp.{self.name}: {problem}")
        log.warning("mcp.%s: %s", self.name, problem)

    def _say_tools(self) -> None:
        """Of the tools that are offered: what is not called any more, and why."""
        for name, tool in self.config.tools.items():
            called = tool.called(name)
            key = f"mcp.{self.name}.{name}"
            if called in self._changed:
                self._degraded.set(
                    key, f"mcp.{self.name}.tools.{name} is not called: its {self._changed[called]} changed"
                )
            elif called in self.first and called not in self._now:
                self._degraded.set(key, f"mcp.{self.name}.tools.{name} is not called: its server lists it no more")
            elif called in self.first:
                self._degraded.clear(key)

    def _said(self, error: BaseException) -> str:
        """The first cause, bounded, and without the address, which may hold a key."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, TimeoutError):
            return "it did not answer in time"
        text = plain(error.message if isinstance(error, MCPError) else str(error)) or type(error).__name__
        return text.replace(self.config.url, "its url") if self.config.url else text


def _done(result: CallToolResult) -> Done:
    """Text, or the JSON that the tool gave beside it. Pictures and links are named, and never fetched."""
    texts = [part.text for part in result.content if isinstance(part, TextContent)]
    others = [part.type for part in result.content if not isinstance(part, TextContent)]
    text = "\n".join(texts)
    if result.is_error:
        return Done("failed", plain(text) or "the tool failed and does not say why")
    given = text if result.structured_content is None else result.structured_content
    return Done("achieved", f"left out: {', '.join(others)}" if others else "", given)
