"""The flow of `deploy/node-red` in a real Node-RED: a frame to its verdict, a sentence to its reply, a person's yes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.config import CommandConfig
from lineside.edge.daemon import Daemon
from lineside.edge.tool_config import PublishConfig, ToolConfig
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.node_red import MISSING, NodeRed, is_there
from tests.support.station import BASE, TOPICS, station
from tests.support.wait import LIMIT_S, until

FLOW = ROOT / "deploy/node-red/flows.json"
pytestmark = [pytest.mark.plain_broker, pytest.mark.skipif(not is_there(), reason=MISSING)]
STOP = ToolConfig(
    "Stop.", confirm_s=600.0, wait_s=LIMIT_S, phrases=("stop the line",), publish=PublishConfig("plant/line", "stop")
)


def flow(port: int) -> list[dict[str, Any]]:
    """As docs/node-red.md says: another base topic, another port."""
    text = FLOW.read_text().replace("lineside/press4", BASE)
    nodes: list[dict[str, Any]] = json.loads(text)
    return [node | {"port": str(port)} if node["type"] == "mqtt-broker" else node for node in nodes]


def test_the_flow_runs(broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path) -> None:
    """The camera's picture is retained, so that the flow has it as soon as it listens."""
    config = station(broker.port, tmp_path, tools={"stop_line": STOP}, commands=CommandConfig(expiry_s=3600.0))
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        part = {"part_id": "A-1047"}
        client.publish("plant/camera/cam0", pictures[0].read_bytes(), retain=True, user=part)
        with NodeRed(tmp_path / "node-red", flow(broker.port)) as node_red:
            result = client.on(TOPICS.result("cam0"))[0].json()
            assert result["part_id"] == "A-1047"
            seen = client.on(f"plant/verdict/{result['verdict']}")[0].json()
            assert (seen["id"], seen["part_id"]) == (result["id"], "A-1047")
            for verdict in ("pass", "fail", "unsure"):
                client.publish(TOPICS.result("cam9"), json.dumps({"verdict": verdict, "part_id": verdict}))
                gone_to(client, verdict)

            node_red.press("ask-say")
            waits = client.on(TOPICS.event("stop_line"))[0].json()
            assert waits["event_type"] == "confirmation_needed"
            until(lambda: answered(client, node_red))
            answer = client.on("plant/answer")[0].json()
            assert answer["said"] == "stop the line"
            assert (answer["ok"], answer["calls"]) == (True, ["stop_line: issued"])
            assert client.on("plant/line")[0].payload == b"stop"
            ended = client.on(TOPICS.event("stop_line"), 2)[1].json()
            assert ended["detail"] == "confirmed by Node-RED"


def gone_to(client: Client, verdict: str) -> None:
    client.wait_for(lambda m: m.topic == f"plant/verdict/{verdict}" and m.json()["part_id"] == verdict)


def answered(client: Client, node_red: NodeRed) -> bool:
    """Press yes; it does nothing where the flow does not know yet what waits."""
    node_red.press("confirm-yes")
    return any(message.topic == "plant/answer" for message in client.received)
