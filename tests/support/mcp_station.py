"""A scripted server of the Model Context Protocol, and what a daemon does with its tools, without the daemon."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from lineside.edge.calls.bindings import Done
from lineside.edge.config import Config
from lineside.edge.degraded import Degraded
from lineside.edge.integrations.mcp.servers import McpServers
from lineside.edge.mcp_config import McpConfig, McpToolConfig
from lineside.runtime.chat import ToolCall
from lineside.runtime.engine.engine import Engine
from tests.support.wait import LIMIT_S

SERVER = str(Path(__file__).with_name("mcp_server.py"))

LAMP = {
    "name": "set_lamp",
    "description": "Set the lamp.",
    "inputSchema": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
}
STOP = {"name": "stop", "description": "Stop.", "inputSchema": {"type": "object", "properties": {}}}
ON = ToolCall("abc123DEF", "set_lamp", {"on": True})


class Server:
    """A scripted server in a folder, and what it got."""

    def __init__(self, folder: Path, **says: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.says(**{"tools": [LAMP, STOP], **says})

    def says(self, **says: Any) -> None:
        path = self.folder / "says.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        (self.folder / "new.json").write_text(json.dumps(known | says))
        (self.folder / "new.json").rename(path)

    def config(self, *tools: str, **changes: Any) -> McpConfig:
        named = {name: McpToolConfig(wait_s=LIMIT_S) for name in tools or ("set_lamp", "stop")}
        command = (sys.executable, "-S", SERVER, str(self.folder))
        return dataclasses.replace(McpConfig(command=command, start_s=LIMIT_S, tools=named), **changes)

    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def processes(self) -> list[int]:
        """Of every start: the server and its child."""
        path = self.folder / "processes"
        return [int(word) for word in path.read_text().split()] if path.exists() else []


class Station:
    """What a daemon does with servers, without the daemon."""

    def __init__(self, engine: Engine, folder: Path, **named: McpConfig) -> None:
        self.degraded = Degraded()
        self.servers = McpServers(Config(mcp=named, folder=folder), self.degraded)
        self.tools = dict(self.servers.tools(engine))

    def call(self, call: ToolCall = ON, **changes: Any) -> Done:
        return self.servers.invoke(call, dataclasses.replace(self.tools[call.name], **changes), lambda: None)

    def says(self, part: str) -> bool:
        return any(part in sentence for sentence in self.degraded.sentences())
