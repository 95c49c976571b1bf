"""From a frame to a machine: a real PLC's coil, a message, a heartbeat, and the safe state."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.frames.seen import Seen
from lineside.edge.outputs_config import On, OutputConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.plc import Plc
from tests.support.station import TOPICS, station
from tests.support.wait import LIMIT_S, until

pytestmark = pytest.mark.plain_broker
ANY: tuple[On, ...] = ("pass", "fail", "unsure")
REJECT, STOP, ALIVE = 1, 2, 3


@pytest.fixture
def plc() -> Iterator[Plc]:
    plc = Plc()
    yield plc
    plc.close()


def test_a_frame_moves_machines_until_the_pipeline_hangs(
    broker: Mosquitto, client: Client, tmp_path: Path, pictures: list[Path], plc: Plc
) -> None:
    address = f"127.0.0.1:{plc.port}"
    outputs = {
        "reject": OutputConfig(
            "modbus", on=ANY, address=address, coil=REJECT, pulse_s=0.05, delay_s=0.1, deadline_s=600, timeout_s=30
        ),
        "stop": OutputConfig("modbus", on="fail", address=address, coil=STOP, safe="on", deadline_s=600, timeout_s=30),
        "lamp": OutputConfig(
            "mqtt", on=ANY, topic="hall/lamp", payload="{{ part_id }} {{ on }}", deadline_s=600, timeout_s=30
        ),
        "alive": OutputConfig("modbus", address=address, register=ALIVE, heartbeat_s=0.05, timeout_s=30),
    }
    config = station(broker, tmp_path, outputs=outputs)
    hang = threading.Event()

    def wait(_seen: Seen) -> None:
        hang.wait()

    with Daemon(replace(config, inspect=replace(config.inspect, max_age_s=2.0))) as daemon:
        assert daemon.wait_online(LIMIT_S)
        until(lambda: plc.values(STOP) == [1])
        daemon.pipeline.observers.append(wait)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), qos=1, user={"part_id": "p7"})
        body = client.on(TOPICS.result("cam0"))[0].json()
        did = body["outputs"]
        assert [did[name]["outcome"] for name in ("reject", "lamp")] == ["done", "done"]
        assert did["reject"]["after_ms"] >= 100
        until(lambda: plc.values(REJECT) == [0, 1, 0])
        until(lambda: b"p7 True" in [message.payload for message in client.on("hall/lamp", 2)])
        until(lambda: any("is held on" in sentence for sentence in daemon.degraded.sentences()))
        until(lambda: plc.values(STOP)[-1] == 1)
        beats = len(plc.values(ALIVE))
        time.sleep(0.3)
        assert beats > 3
        assert len(plc.values(ALIVE)) <= beats + 1  # one may have been under way
        hang.set()
        until(lambda: not any("is held on" in sentence for sentence in daemon.degraded.sentences()))
        until(lambda: len(plc.values(ALIVE)) > beats + 3)
        assert plc.values(ALIVE)[: beats + 3] == list(range(beats + 3))
    assert (plc.values(REJECT)[-1], plc.values(STOP)[-1], plc.values(ALIVE)[-1]) == (0, 1, 0)
