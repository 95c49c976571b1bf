"""The access rules of `deploy/mosquitto`: each user may do what it needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lineside.edge.daemon import Daemon
from lineside.edge.demo.broker import HOST
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.traffic import Ending
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.line import Line
from tests.support.secured import SecuredMosquitto
from tests.support.small import small_picture
from tests.support.station import BASE, TOPICS, station
from tests.support.wait import LIMIT_S

SAID = ("status", "info", "health", "result/a", "event/a", "state/a", "snapshot/a")
CHANGES = ("cmd/model-install", "cmd/model-rollback", "cmd/config", "cmd/switch", "cmd/call")
ANNOUNCED, BIRTH = "homeassistant/device/a/config", "homeassistant/status"
TOLD = ("frame/a", "trigger/a", "cmd/ask", *CHANGES, "ret/a", "confirm/a")
ANSWERS = ("rsp/ask", "rsp/ask/7", "call/a")
OTHER = BASE.replace("cell2", "cell3")
EVERYTHING = (
    *(f"{base}/{topic}" for base in (BASE, OTHER) for topic in (*SAID, *TOLD, *ANSWERS, "anything")),
    *("clients/me", "plant/lamp/set", "plant/lamp/state", ANNOUNCED, BIRTH),
)
WRITES = {
    "press4": {*(f"{BASE}/{topic}" for topic in (*SAID, *ANSWERS)), "clients/me", "plant/lamp/set", ANNOUNCED},
    "dashboard": set[str](),
    "operator": {f"{BASE}/cmd/ask", f"{BASE}/confirm/a"},
    "maintainer": {f"{BASE}/{topic}" for topic in CHANGES},
    "homeassistant": {BIRTH, *(f"{BASE}/{topic}" for topic in ("trigger/a", "cmd/ask", *CHANGES, "confirm/a"))},
    "camera": {f"{BASE}/frame/a"},
    "trigger": {f"{BASE}/trigger/a"},
    "actuator": {f"{BASE}/ret/a"},
}
READS = {
    "press4": {BIRTH, *(f"{BASE}/{topic}" for topic in TOLD)},
    "dashboard": {f"{base}/{topic}" for base in (BASE, OTHER) for topic in SAID},
    "operator": {f"{BASE}/{topic}" for topic in ("rsp/ask", "rsp/ask/7", "event/a", "status", "info")},
    "maintainer": {f"{BASE}/{topic}" for topic in ("rsp/ask", "rsp/ask/7", "event/a", "status", "info")},
    "homeassistant": {
        *(f"{base}/{topic}" for base in (BASE, OTHER) for topic in (*SAID, "rsp/ask")),
        *(ANNOUNCED, BIRTH),
    },
    "camera": set[str](),
    "trigger": set[str](),
    "actuator": {f"{BASE}/call/a"},
}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory, broker_files: Path) -> Iterator[SecuredMosquitto]:
    mosquitto = SecuredMosquitto(tmp_path_factory.mktemp("rules"), broker_files)
    yield mosquitto
    mosquitto.stop()


@pytest.mark.parametrize("user", WRITES)
def test_who_may_write_what(rules: SecuredMosquitto, user: str) -> None:
    access = MqttConfig(host=HOST, port=rules.port, **(rules.access_of(user) | {"tls": True}))  # type: ignore[arg-type]
    endings: list[Ending] = []
    with Line(0, config=access, client_id=user) as line:
        line.wait_online()
        for count, topic in enumerate(EVERYTHING, start=1):
            line.connection.publish(topic, b"x", ended=endings.append)
            line.wait_until(partial(_has, endings, count), "no ending")
    written = {topic for topic, ending in zip(EVERYTHING, endings, strict=True) if ending.kind == "acknowledged"}
    assert written == WRITES[user]
    assert {ending.code for ending in endings if ending.kind != "acknowledged"} == {0x87}


def _has(endings: list[Ending], count: int) -> bool:
    return len(endings) == count


@pytest.mark.parametrize("user", READS)
def test_who_may_read_what(rules: SecuredMosquitto, user: str) -> None:
    """Everybody subscribes to everything; what is not theirs does not come."""
    own, bench = Client(rules, "#", **rules.access_of(user)), Client(rules, "#")
    for topic in EVERYTHING:
        bench.publish(topic, "x")
    bench.wait_for(lambda _message: True, len(EVERYTHING))
    if READS[user]:
        own.wait_for(lambda _message: True, len(READS[user]))
    assert {message.topic for message in own.received} == READS[user]
    own.close()
    bench.close()


def test_a_station_says_what_it_may_not_write(broker: Mosquitto, tmp_path: Path, broker_files: Path) -> None:
    """A result waits; a state, which is of use only now, is lost."""
    broker.stop()
    lines = (broker_files / "acl").read_text()
    for topic in ("result/+", "state/+"):
        assert f"topic write {BASE}/{topic}\n" in lines
        lines = lines.replace(f"topic write {BASE}/{topic}\n", "")
    (tmp_path / "less").mkdir()
    less = SecuredMosquitto(tmp_path / "less", broker_files, rules=lines)
    client = Client(less)
    with Daemon(station(less, tmp_path)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), small_picture())
        advice = "check its access rules and quotas"
        wanted = {
            f"the broker refuses messages on {BASE}/{kind}/cam0 (Not authorized): {and_so}; {advice}"
            for kind, and_so in (("result", "they wait"), ("state", "they are lost"))
        }
        client.wait_for(lambda message: message.topic == TOPICS.info and wanted <= set(message.json()["degraded"]))
    client.close()
    less.stop()
