"""The edge node before a host application by another library, with a real broker: births, data, sequence, rebirth,
death, and what waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.demo.broker import HOST
from lineside.edge.integrations.sparkplug.node import SparkplugNode
from lineside.edge.integrations.sparkplug.waiting import WaitingResults
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.sparkplug_config import SparkplugConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.proxy import Proxy
from tests.support.sparkplug import GROUP, MISSING, NODE, PYTHON, Host, result
from tests.support.wait import until

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=MISSING)
Make = Callable[..., SparkplugNode]
STATE = "spBv1.0/STATE/scada"


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[Host]:
    found = Host(broker.port)
    yield found
    found.close()


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[Proxy]:
    found = Proxy(broker.port)
    yield found
    found.close()


@pytest.fixture
def cameras() -> list[str]:
    return ["top", "side"]


@pytest.fixture
def make(proxy: Proxy, tmp_path: Path, cameras: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A node behind a proxy, so that its line can be cut; it connects again at once."""
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    made: list[SparkplugNode] = []

    def node(**settings: object) -> SparkplugNode:
        config = SparkplugConfig(GROUP, **settings)  # type: ignore[arg-type]
        degraded = Degraded()
        waiting = WaitingResults(tmp_path, config.max_waiting, degraded)
        access = MqttConfig(host=HOST, port=proxy.port)
        properties = {"Properties/Software": "Lineside"}
        found = SparkplugNode(
            config, NODE, access, "lineside-test", waiting, lambda: cameras, properties, Counters(), degraded, None
        )
        made.append(found)
        found.start()
        return found

    yield node
    for each in made:
        if not each._closed:
            each.close()


def test_births_data_and_a_sequence_without_a_gap(host: Host, make: Make) -> None:
    """Over the end of the sequence, by names where the data have aliases."""
    node = make()
    (birth,) = host.wait_for("NBIRTH")
    assert (birth["seq"], birth["qos"], birth["retain"]) == (0, 0, False)
    assert birth["metrics"] == {"bdSeq": 0, "Node Control/Rebirth": False, "Properties/Software": "Lineside"}
    devices = host.wait_for("DBIRTH", 2)
    assert [(each["device"], each["seq"]) for each in devices] == [("top", 1), ("side", 2)]
    assert devices[0]["metrics"]["Verdict"] is None
    assert devices[0]["types"]["Confidence"] == "DOUBLE"
    aliases = [alias for each in devices for alias in each["aliases"].values()]
    assert len(set(aliases)) == len(aliases)
    for number in range(300):
        node.tell(result(number, "side" if number % 2 else "top"))
    data = host.wait_for("DDATA", 300)
    assert [each["metrics"]["Part ID"] for each in data] == [f"A-{number}" for number in range(300)]
    assert [each["seq"] for each in data] == [(3 + number) % 256 for number in range(300)]
    assert not any(each["historical"] for each in data)
    last = data[-1]
    assert last["device"] == "side"
    assert last["metrics"]["Verdict"] == "fail"
    assert last["metrics"]["Defects/Count"] == 1
    assert last["metrics"]["Defects/Types"] == "pitting"
    assert last["metrics"]["Latency (ms)"] == 42.5
    assert last["metrics"]["Count/fail"] == 150
    assert set(last["times"].values()) == {(1_700_000_000 + 299) * 1000}
    until(lambda: not node._waiting.after(0, 1))  # the broker has them all


def test_a_host_asks_for_a_rebirth(host: Host, make: Make) -> None:
    node = make()
    node.tell(result(7))
    host.wait_for("DDATA")
    host.ask_for_rebirth()
    first, again = host.wait_for("NBIRTH", 2)
    assert (again["seq"], again["metrics"]["bdSeq"]) == (0, first["metrics"]["bdSeq"])
    reborn = host.wait_for("DBIRTH", 4)[2:]
    assert [(each["device"], each["seq"]) for each in reborn] == [("top", 1), ("side", 2)]
    assert reborn[0]["metrics"]["Part ID"] == "A-7"
    assert reborn[0]["times"]["Verdict"] == (1_700_000_000 + 7) * 1000


def test_a_node_whose_line_is_cut_dies_and_what_waited_is_told_as_of_the_past(
    host: Host, make: Make, proxy: Proxy
) -> None:
    """The broker says the death, with the number of that birth; the next birth has the next."""
    node = make()
    node.tell(result(1))
    host.wait_for("DDATA")
    until(lambda: not node._waiting.after(0, 1))
    proxy.refuses = True
    proxy.cut()
    (death,) = host.wait_for("NDEATH")
    assert death["metrics"] == {"bdSeq": 0}
    until(lambda: "no host hears the verdicts" in "".join(node._degraded.sentences()))
    for number in (2, 3):
        node.tell(result(number))
    until(lambda: len(node._waiting.after(0, 9)) == 2)
    proxy.refuses = False
    birth = host.wait_for("NBIRTH", 2)[1]
    assert birth["metrics"]["bdSeq"] > 0
    assert birth["seq"] == 0
    node.tell(result(4))
    data = host.wait_for("DDATA", 4)[1:]
    assert [(each["metrics"]["Part ID"], each["historical"]) for each in data] == [
        ("A-2", True),
        ("A-3", True),
        ("A-4", False),
    ]
    assert data[0]["times"]["Verdict"] == (1_700_000_000 + 2) * 1000
    reborn = host.wait_for("DBIRTH", 4)[2]
    assert reborn["metrics"]["Part ID"] == "A-3", "a birth has the last values"
    until(lambda: node._degraded.sentences() == [])


def test_a_node_that_stops_says_so_and_one_that_starts_goes_on(
    host: Host, make: Make, proxy: Proxy, tmp_path: Path
) -> None:
    """What waited on disk is told then. The number of the birth goes on."""
    node = make()
    host.wait_for("DBIRTH", 2)
    node.close()
    assert host.wait_for("NDEATH")[0]["metrics"] == {"bdSeq": 0}
    waiting = WaitingResults(tmp_path, 10, Degraded())
    waiting.put("top", 5000, {"Part ID": "A-0"})
    waiting.close()
    make()
    (told,) = host.wait_for("DDATA")
    assert (told["metrics"], told["historical"]) == ({"Part ID": "A-0"}, True)
    assert host.wait_for("NBIRTH", 2)[1]["metrics"]["bdSeq"] == 1
    assert proxy.connections >= 2


def test_nothing_is_said_while_the_primary_host_is_away(host: Host, make: Make, client: Client) -> None:
    def say(online: bool, timestamp: int) -> None:
        client.publish(STATE, json.dumps({"online": online, "timestamp": timestamp}), retain=True)

    say(False, 10)
    node = make(host_id="scada")
    until(lambda: "the host scada is not online" in "".join(node._degraded.sentences()))
    node.tell(result(1))
    until(lambda: node._waiting.newest() == 1)
    assert [each["kind"] for each in host.heard] == ["listening"]
    say(True, 20)
    assert host.wait_for("DDATA")[0]["historical"]
    say(False, 15)  # older than what it has said last
    node.tell(result(2))
    host.wait_for("DDATA", 2)
    say(False, 30)
    host.wait_for("NDEATH")
    until(lambda: not node._born)
    node.tell(result(3))
    until(lambda: node._waiting.newest() == 3)
    say(True, 40)
    assert host.wait_for("DDATA", 3)[2]["historical"]
    assert host.wait_for("NBIRTH", 2)[1]["metrics"]["bdSeq"] > 0


def test_cameras_come_and_go_with_the_station_file(host: Host, make: Make, cameras: list[str]) -> None:
    node = make()
    host.wait_for("DBIRTH", 2)
    cameras[:] = ["top", "back"]
    node.tell(result(1))
    assert host.wait_for("DDEATH")[0]["device"] == "side"
    assert host.wait_for("DBIRTH", 3)[2]["device"] == "back"


def test_there_is_a_bound_and_the_oldest_go_first(tmp_path: Path) -> None:
    waiting = WaitingResults(tmp_path, 10, Degraded())
    lost = sum(waiting.put("top", number, {"Part ID": str(number)}) for number in range(13))
    assert lost == 3
    assert [row.timestamp for row in waiting.after(0, 99)] == list(range(3, 13))
    waiting.close()
