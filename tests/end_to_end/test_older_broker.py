"""A station on a broker without MQTT 5: bodies alone say which part, which request, and until when."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from tests.support.broker import Mosquitto
from tests.support.older_broker import OlderClient, older_broker
from tests.support.proxy import CLOSE, Proxy
from tests.support.small import small_picture
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S, until

pytestmark = pytest.mark.plain_broker

CONNECT, PUBACK, REFUSED_3_1_1 = 0x10, 0x40, b"\x20\x02\x00\x01"


@pytest.mark.usefixtures("obedient")
def test_frames_commands_and_calls_over_3_1_1(tmp_path: Path) -> None:
    data = small_picture()
    (tmp_path / "a.jpg").write_bytes(data)
    with older_broker(tmp_path) as port, Daemon(station(port, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client = OlderClient(port)
        client.publish(TOPICS.frame("cam0"), data)
        reference = {"path": "a.jpg", "sha256": hashlib.sha256(data).hexdigest(), "part_id": "A-1"}
        client.publish(TOPICS.frame("cam0"), json.dumps(reference))
        plain, referred = client.bodies(TOPICS.result("cam0"), 2)
        assert (plain["part_id"], referred["part_id"]) == ("", "A-1")

        client.publish(TOPICS.command("ask"), json.dumps({"text": "stop the line", "transaction": "t1"}))
        (call,) = client.bodies(TOPICS.call("stop_line"))
        assert call["expires_at"]
        client.publish(TOPICS.returned("stop_line"), json.dumps({"id": call["id"], "outcome": "achieved"}))
        (reply,) = client.bodies(TOPICS.response("ask"))
        assert (reply["transaction"], reply["calls"][0]["outcome"]) == ("t1", "achieved")

        past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        client.publish(TOPICS.command("ask"), json.dumps({"text": "stop the line", "expires_at": past}))
        assert client.bodies(TOPICS.response("ask"), 2)[1]["error"]["code"] == "expired"

        assert any("has no MQTT 5" in sentence for sentence in client.bodies(TOPICS.info)[-1]["degraded"])
        before = len(client.on(TOPICS.status))
        daemon.connection.drop()
        assert client.wait_for(lambda found: len(found) == before + 2, TOPICS.status)[before:] == [
            b"offline",
            b"online",
        ]
        client.close()


@pytest.mark.usefixtures("obedient")
def test_a_redelivered_command_acts_once_over_3_1_1(broker: Mosquitto, tmp_path: Path) -> None:
    """It carries nothing of its own, and its first acknowledgement is lost: session, packet id and DUP know it."""
    proxy, lost = Proxy(broker.port), list[bytes]()

    def judge(packet: bytes) -> bytes | None:
        if packet[0] & 0xF0 == CONNECT and packet[8] == 5:
            return REFUSED_3_1_1
        if packet[0] & 0xF0 == PUBACK and not lost:
            lost.append(packet)
            return CLOSE
        return None

    proxy.judge = judge
    client = OlderClient(broker.port)
    with Daemon(station(proxy.port, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.command("ask"), "stop the line")
        (call,) = client.bodies(TOPICS.call("stop_line"))
        until(lambda: daemon.counters.snapshot().get("commands_duplicate") == 1)
        client.publish(TOPICS.returned("stop_line"), json.dumps({"id": call["id"], "outcome": "achieved"}))
        client.bodies(TOPICS.response("ask"))
        assert daemon.counters.snapshot()["calls"] == 1
    client.close()
    proxy.close()
