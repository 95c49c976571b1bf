"""What the station file says about a server that speaks the Model Context Protocol, and about its tools."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT, ToolConfig


@dataclass(frozen=True, config=STRICT)
class McpToolConfig(ToolConfig):
    """`[mcp.NAME.tools.TOOL]`: a tool of the server that the model may call, with the keys of `[tools.NAME]`."""

    description: str = ""
    """What the tool does, for the model; the server's own words, cut to 500 characters, where it is empty."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """JSON Schema of the arguments; the server's own where it is empty. A tool that states them is offered also where
    its server is not there at the start."""
    tool: str = ""
    """What the server calls it; as the table where it is empty."""

    def called(self, name: str) -> str:
        """What the server calls the tool that is `name` in this station."""
        return self.tool or name

    @property
    def binding(self) -> Literal["mcp"]:
        return "mcp"


@dataclass(frozen=True, config=STRICT)
class McpConfig:
    """`[mcp.NAME]`: a server that speaks the Model Context Protocol. Nothing of it is offered that is not named."""

    command: tuple[str, ...] = ()
    """What starts it, a program and its arguments; it is spoken to over its standard input and output."""
    env: dict[str, SecretStr] = field(default_factory=dict)
    """Variables for it. It sees `PATH`, `HOME`, `USER`, `SHELL`, `TERM` and these, and none else of the station's."""
    url: str = ""
    """Where it listens, in place of `command`: `http://...` or `https://...`."""
    headers: dict[str, SecretStr] = field(default_factory=dict)
    """For each request to the `url`. A value `$NAME`, here and in `env`, is that of the station's variable."""
    start_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """How many seconds the station waits at its start for the server to list its tools."""
    tools: dict[str, McpToolConfig] = field(default_factory=dict)
    """The tools that are offered, by the names that they have in this station."""
