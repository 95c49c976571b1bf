"""Commands that lead to a call of an MCP server's tool, and a client that asks the station over MCP."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client as McpClient
from mcp.client.stdio import StdioServerParameters

from lineside.edge.daemon import Daemon
from lineside.edge.mcp_config import McpToolConfig
from lineside.edge.tool_config import PhraseConfig
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.mcp_station import Server
from tests.support.scripted import Scripted
from tests.support.station import LINESIDE, TOPICS, station
from tests.support.wait import LIMIT_S, until


def test_a_call_goes_to_its_server_under_the_station_s_policy(
    broker: Mosquitto, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path / "server")
    lamp = McpToolConfig(wait_s=LIMIT_S, limits={"on": {"const": True}})
    config = server.config(tools={"set_lamp": lamp, "missing": McpToolConfig()})
    on = [True]
    model = Scripted(lambda _: [("set_lamp", {"on": on[0]})])
    monkeypatch.setattr("lineside.runtime.commands.decide.ask", model)
    with Daemon(station(broker, tmp_path, tools={}, cameras={}, mcp={"plant": config})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        info = client.on(TOPICS.info)[0].json()
        assert info["tools"]["set_lamp"]["description"] == "Set the lamp."
        assert list(info["tools"]) == ["set_lamp"]
        assert any("mcp.plant.tools.missing is not offered" in sentence for sentence in info["degraded"])
        client.publish(TOPICS.command("ask"), b"lamp on")
        (call,) = client.on(TOPICS.response("ask"))[0].json()["calls"]
        assert (call["outcome"], call["result"]) == ("achieved", "set_lamp is done")
        on[0] = False
        client.publish(TOPICS.command("ask"), b"lamp off")
        (call,) = client.on(TOPICS.response("ask"), count=2)[1].json()["calls"]
        assert (call["outcome"], call["code"]) == ("refused", "over_limit")
    assert [got["arguments"] for got in server.calls()] == [{"on": True}]
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in server.processes()))


@pytest.mark.parametrize(
    ("phrase", "outcome", "told"),
    [
        ({"say": "lamp on", "arguments": {"on": True}}, "achieved", False),
        ({"say": "lamp on", "arguments": {"glow": True}}, None, True),  # the server's tool has no such argument
    ],
)
def test_a_phrase_calls_a_server_s_tool(
    phrase: dict[str, Any], outcome: str | None, told: bool, broker: Mosquitto, client: Client, tmp_path: Path
) -> None:
    """One that does not fit what the server says keeps no station from starting."""
    server = Server(tmp_path / "server")
    lamp = McpToolConfig(wait_s=LIMIT_S, phrases=(PhraseConfig(**phrase),))
    config = server.config(tools={"set_lamp": lamp})
    with Daemon(station(broker, tmp_path, tools={}, cameras={}, mcp={"plant": config})) as daemon:
        assert daemon.wait_online(LIMIT_S)
        info = client.on(TOPICS.info)[0].json()
        assert any("there is no such argument" in sentence for sentence in info["degraded"]) == told
        if outcome:
            client.publish(TOPICS.command("ask"), b"lamp on")
            (call,) = client.on(TOPICS.response("ask"))[0].json()["calls"]
            assert (call["outcome"], call["decided_by"]) == (outcome, "phrase")


def test_the_reference_client_asks_over_standard_input_and_output(tmp_path: Path) -> None:
    """Nothing but messages comes out, nothing is written, and the command ends with its client."""
    folder = tmp_path / "ballscrew"
    shutil.copytree(ROOT / "deploy/stations/ballscrew", folder)
    before = sorted(folder.rglob("*"))
    program, *arguments = (*LINESIDE, "mcp", "-c", str(folder / "station.toml"))
    server = StdioServerParameters(command=program, args=arguments, env={"PYTHONPATH": str(ROOT)})

    async def ask() -> Any:
        async with McpClient(server) as client:
            return (await client.call_tool("ask", {"text": "set the belt to 40 percent"})).structured_content

    assert anyio.run(ask)["calls"][0]["arguments"] == {"percent": 40}
    assert sorted(folder.rglob("*")) == before
