"""A whole station as an edge node: a frame's verdict reaches a host of Sparkplug B."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.sparkplug_config import SparkplugConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.sparkplug import GROUP, MISSING, PYTHON, Host
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S

pytestmark = [pytest.mark.plain_broker, pytest.mark.skipif(not PYTHON.exists(), reason=MISSING)]


def test_a_verdict_reaches_the_host(broker: Mosquitto, client: Client, pictures: list[Path], tmp_path: Path) -> None:
    host = Host(broker.port)
    with Daemon(station(broker.port, tmp_path, sparkplug=SparkplugConfig(GROUP, "press4"))) as daemon:
        assert daemon.wait_online(LIMIT_S)
        birth = host.wait_for("NBIRTH")[0]
        assert birth["metrics"]["Properties/Model"].startswith("default ")
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), user={"part_id": "A-1047"})
        result = client.on(TOPICS.result("cam0"))[0].json()
        told = host.wait_for("DDATA")[0]
        assert told["device"] == "cam0"
        assert told["metrics"]["Result ID"] == result["id"]
        assert (told["metrics"]["Verdict"], told["metrics"]["Part ID"]) == (result["verdict"], "A-1047")
        assert told["metrics"]["Latency (ms)"] == result["timing_ms"]["total"]
    host.wait_for("NDEATH")
    host.close()
