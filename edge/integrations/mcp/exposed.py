"""`lineside mcp`: a station's `inspect` and `ask` for clients of the Model Context Protocol, read-only."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import uvicorn
from anyio.to_thread import run_sync
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from lineside import __version__
from lineside.edge.config import Config
from lineside.edge.errors import EdgeError
from lineside.edge.integrations.mcp.read_only import ReadOnlyStation
from lineside.runtime.errors import EngineError

LOOPBACK = "127.0.0.1"
INSTRUCTIONS = (
    "A station that inspects parts beside a camera, seen from outside: it looks at pictures and says what it would do. "
    "Nothing is carried out."
)


def make_server(config: Config) -> MCPServer:
    """`inspect` where the station has a camera, and `ask`. Nothing is loaded yet."""
    station = ReadOnlyStation(config)
    server = MCPServer("lineside", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    looks = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    async def inspect(
        path: Annotated[
            str, Field(description="A picture file in the station's folder: JPEG, PNG, BMP, TIFF or WebP.")
        ] = "",
        picture: Annotated[str, Field(description="Or the file itself, in base64.")] = "",
        camera: Annotated[str, Field(description="Whose task and calibration count; the only one's if empty.")] = "",
    ) -> dict[str, Any]:
        return await _answer(station.inspect, path, picture, camera)

    async def ask(text: Annotated[str, Field(description="A command in plain language.")]) -> dict[str, Any]:
        return await _answer(station.ask, text)

    if config.cameras:
        kinds = {kind for camera in config.cameras.values() for kind in camera.defect_types}
        looked_for = ", ".join(sorted(kinds) or config.inspect.defect_types)
        about = f"Inspect a picture of a part. Cameras: {', '.join(config.cameras)}. Defects: {looked_for}."
        server.tool("inspect", description=about, annotations=looks)(inspect)
    tools = ", ".join(config.tools) or "none"
    about = f"Say which function the station would call for a command, without calling it. Functions: {tools}."
    server.tool("ask", description=about, annotations=looks)(ask)
    return server


async def _answer(method: Any, *arguments: str) -> dict[str, Any]:
    """On a thread: the server goes on reading meanwhile."""
    try:
        return dict(await run_sync(method, *arguments))
    except (EdgeError, EngineError) as error:
        raise ToolError(f"{getattr(error, 'code', 'error')}: {error}") from error


def serve(config: Config) -> None:
    """Over standard input and output, until the client closes them."""
    make_server(config).run("stdio")


def serve_http(config: Config, port: int) -> None:
    """Over HTTP, for this machine only, until it is interrupted. Raises EdgeError where the port cannot be had."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK, port))
        except OSError as error:
            raise EdgeError(f"port {port} of {LOOPBACK} cannot be had ({error.strerror}): name another") from error
        app = make_server(config).streamable_http_app(host=LOOPBACK)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
