"""What the reference client gets of a station: it looks, and nothing is carried out."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_types import TextContent, Tool

from lineside.edge.camera_config import CameraConfig
from lineside.edge.command_line.main import main
from lineside.edge.config import Config
from lineside.edge.device_choice import Choice, Opened
from lineside.edge.errors import EdgeError
from lineside.edge.integrations.mcp.exposed import make_server, serve_http
from lineside.edge.models import Models
from lineside.edge.tool_config import ToolConfig
from lineside.runtime.engine.engine import Engine
from tests.support.station import SPEED

Call = Callable[..., Any]
LIMITS = {"percent": {"maximum": 50}}
TOOLS = {
    "set_belt_speed": ToolConfig("Set the speed.", SPEED, limits=LIMITS, phrases=("belt to {percent} percent",)),
    "wipe": ToolConfig("Wipe.", python="os:abort", phrases=("wipe it",), confirm_s=5),
}


@pytest.fixture
def station(tmp_path: Path, pictures: list[Path]) -> Config:
    (tmp_path / "part.jpg").write_bytes(pictures[0].read_bytes())
    cameras = {name: CameraConfig("mqtt") for name in ("left", "right")}
    return Config(cameras=cameras, tools=TOOLS, folder=tmp_path)


@pytest.fixture
def call(default_engine: Engine, station: Config, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A tool's structured answer, or the sentence of its error."""
    opened = Opened(default_engine, Choice("cpu", "a test's"))
    monkeypatch.setattr("lineside.edge.models.open_models", lambda _: Models(opened, opened))

    def call(name: str, **arguments: object) -> Any:
        async def once() -> Any:
            async with Client(make_server(station)) as client:
                result = await client.call_tool(name, arguments)
                if result.is_error:
                    (said,) = result.content
                    assert isinstance(said, TextContent)
                    return said.text
                return result.structured_content

        return anyio.run(once)

    return call


def test_two_tools_that_only_look(station: Config) -> None:
    async def listed() -> list[Tool]:
        async with Client(make_server(station)) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(listed)}
    assert set(tools) == {"inspect", "ask"}
    assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())
    assert "Cameras: left, right. Defects: pitting." in (tools["inspect"].description or "")
    assert "set_belt_speed, wipe" in (tools["ask"].description or "")


def test_a_port_that_cannot_be_had_is_said(station: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "station.toml"
    path.write_text("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EdgeError, match=f"port {port} of 127.0.0.1 cannot be had"):
            serve_http(station, port)
    assert main(["mcp", "-c", str(path), "--http", "99999"]) == 2
    assert "a port is a number from 1 to 65535" in capsys.readouterr().err


def test_ask_says_what_would_be_called_and_calls_nothing(call: Call) -> None:
    """The function behind `wipe` would end this process."""
    assert call("ask", text="belt to 40 percent") == {
        "calls": [{"name": "set_belt_speed", "arguments": {"percent": 40}, "would_be": "called", "why": ""}],
        "decided_by": "phrase",
        "code": "",
        "text": "",
    }
    (wipe,) = call("ask", text="wipe it")["calls"]
    assert wipe == {"name": "wipe", "arguments": {}, "would_be": "called", "why": "a person would be asked, for 5 s"}
    refused = call("ask", text="belt to 90 percent")
    assert all(one["would_be"] == "refused" for one in refused["calls"])
    assert refused["code"]
    assert call("ask", text="What is the weather on Mars?")["decided_by"] == "model"
    assert "malformed: the command has 1 to 8000 characters" in call("ask", text=" ")


def test_inspect_looks_at_a_file_of_the_folder_or_at_a_picture(call: Call, station: Config) -> None:
    seen = call("inspect", path="part.jpg", camera="left")
    assert seen["verdict"] in ("pass", "fail", "unsure")
    assert (seen["camera"], seen["model"]["name"]) == ("left", "default")
    picture = base64.b64encode((station.folder / "part.jpg").read_bytes()).decode()
    sent = call("inspect", picture=picture, camera="right")
    assert (sent["verdict"], sent["frame_sha256"]) == (seen["verdict"], seen["frame_sha256"])


def test_what_is_no_picture_or_not_the_station_s_is_said(call: Call, station: Config) -> None:
    (station.folder / "inside").symlink_to(Path(__file__))
    for path in ("../secret", "/etc/passwd", "inside", "missing.jpg", "."):
        assert "unknown_file" in call("inspect", path=path, camera="left")
    assert "unknown_camera: say which `camera`: the station has left, right" in call("inspect", path="part.jpg")
    assert "either a `path` or a `picture`" in call("inspect", camera="left")
    assert "is not base64" in call("inspect", picture="?", camera="left")
    assert "too_large" in call("inspect", picture="A" * (12 * 1024 * 1024), camera="left")
    assert "picture_undecodable" in call("inspect", picture="AAAA", camera="left")
