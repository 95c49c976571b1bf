"""An outbox before a real Mosquitto that does not take everything, or a proxy that plays one that takes less."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineside.edge.degraded import Degraded
from lineside.edge.wire.messages import InspectionResult, Reply
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import Outgoing, Store
from lineside.edge.wire.traffic import Ending
from tests.edge.wire.test_outbox import reply
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.line import Line
from tests.support.packets import puback, published_topic
from tests.support.proxy import CLOSE, Proxy

LIMIT_S = 30.0
RESULT = {
    "camera": "cam0",
    "captured_at": "2026-06-01T12:00:00Z",
    "verdict": "fail",
    "confidence": 0.9,
    "fail_probability": 0.9,
    "defects": [{"type": "pitting", "box": (1, 2, 3, 4)}],
    "complete": True,
    "model": {"name": "m", "sha256": "0"},
    "timing_ms": dict.fromkeys(("queue", "gate", "preprocess", "vision", "prefill", "decode", "total"), 1.0),
    "frame_sha256": "0",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.takeover.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.takeover.LONGEST_GUESSED_WAIT_S", 0.2)
    monkeypatch.setattr("lineside.edge.wire.mqtt.PROVED_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.lanes.FIRST_WAIT_S", 0.1)
    monkeypatch.setattr("lineside.edge.wire.lanes.LONGEST_WAIT_S", 0.3)


class Sending:
    """An outbox on a line."""

    def __init__(self, port: int, folder: Path) -> None:
        self.store, self.degraded, self.line = Store(folder / "s.db", 100), Degraded(), Line(port)
        self.counters = self.line.counters
        self.outbox = Outbox(self.store, self.line.connection, self.counters, self.degraded)

    def put(self, topic: str, *texts: str) -> None:
        for text in texts:
            self.outbox.put(Outgoing(topic, text.encode(), "text/plain"))

    def result(self, name: str, **more: object) -> None:
        body = InspectionResult.model_validate(RESULT | {"name": name, "part_id": name} | more)
        self.outbox.put(Outgoing("b/result/cam0", body.encode(), "application/json"))

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        self.line.wait_until(holds, what)


@contextmanager
def sending(port: int, folder: Path) -> Iterator[Sending]:
    made = Sending(port, folder)
    made.outbox.start()
    with made.line:
        made.line.wait_online()
        yield made
        made.outbox.close()
    made.store.close()


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[Proxy]:
    between = Proxy(broker.port)
    yield between
    between.close()


def on(topic: str) -> Callable[[Received], bool]:
    return lambda message: message.topic == topic


def texts(client: Client, topic: str) -> list[str]:
    return [message.payload.decode() for message in client.received if message.topic == topic]


def ask(station: Sending, topic: str) -> str:
    """What becomes of a message there that is in no outbox."""
    endings: list[Ending] = []
    station.line.connection.publish(topic, b"", ended=endings.append)
    station.wait_until(lambda: bool(endings), "no ending")
    return endings[0].kind


def test_access_rules_that_change_lose_nothing(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    """Mosquitto refuses one topic for a while (0x87): its messages wait, in order, and another's do not."""
    with sending(broker.port, tmp_path) as station:
        broker.restrict("topic read #\ntopic write b/cam1\n")
        while ask(station, "b/cam0") != "refused":
            pass
        client.received.clear()
        station.put("b/cam0", *"01234")
        station.put("b/cam1", "other")
        client.wait_for(on("b/cam1"))
        station.wait_until(lambda: station.counters.snapshot().get("outbox_refused", 0) >= 3, "not asked again")
        assert "b/cam0 (Not authorized)" in station.degraded.sentences()[0]
        assert texts(client, "b/cam0") == []
        broker.restrict("topic readwrite #\n")
        client.wait_for(on("b/cam0"), count=5)
        assert station.outbox.drain(LIMIT_S)
        assert texts(client, "b/cam0") == list("01234")
        assert station.degraded.sentences() == []


def test_a_quota_loses_nothing(client: Client, proxy: Proxy, tmp_path: Path) -> None:
    """Every second message is refused (0x97): all come, in order, once."""
    asked = [0]

    def judge(packet: bytes) -> bytes | None:
        if not published_topic(packet):
            return None
        asked[0] += 1
        return puback(packet, 0x97) if asked[0] % 2 else None

    with sending(proxy.port, tmp_path) as station:
        proxy.judge = judge
        station.put("b/cam0", *"0123456789")
        client.wait_for(on("b/cam0"), count=10)
        assert station.outbox.drain(LIMIT_S)
        assert texts(client, "b/cam0") == list("0123456789")
        assert station.counters.snapshot() == {"outbox_refused": 10}


@pytest.mark.parametrize("announced", [True, False])
def test_a_reply_larger_than_the_broker_takes_stops_nothing(
    broker: Mosquitto, client: Client, proxy: Proxy, tmp_path: Path, announced: bool
) -> None:
    """Announced by Mosquitto, or not: then the connection is closed at each packet of more than 3,000 bytes."""
    if announced:
        broker.stop()
        broker = Mosquitto(tmp_path, max_packet=3000)
        client = Client(broker.port)
    else:
        proxy.judge = lambda packet: CLOSE if len(packet) > 3000 else None
    with sending(broker.port if announced else proxy.port, tmp_path) as station:
        station.outbox.put(reply("x" * 20_000))
        station.put("b/cam0", *"01234")
        body = Reply.model_validate_json(client.wait_for(on("rsp/ask"))[0].payload)
        assert station.outbox.drain(LIMIT_S)
        assert station.line.stands <= 6
        assert station.counters.snapshot() == {"outbox_shortened": 1}
    assert (body.ok, body.transaction, body.error and body.error.code) == (False, "t-1", "too_large")
    assert [call.outcome for call in body.calls] == ["achieved"]
    assert client.wait_for(on("rsp/ask"))[0].correlation == b"corr"
    assert texts(client, "b/cam0") == list("01234")
    assert [sentence for sentence in station.degraded.sentences() if "rsp/ask" in sentence]
    if announced:
        client.close()
        broker.stop()


def test_a_result_loses_what_does_not_fit(client: Client, proxy: Proxy, tmp_path: Path) -> None:
    """Its report, then its defects; where not even the rest fits, an event stands for it. Order is kept."""
    limit = [2000]
    proxy.judge = lambda packet: CLOSE if len(packet) > limit[0] else None
    with sending(proxy.port, tmp_path) as station:
        station.result("whole", report={"a": 1})
        station.result("no report", report="x" * 5000)
        station.result("last")
        results = [json.loads(message.payload) for message in client.wait_for(on("b/result/cam0"), count=3)]
        assert [result["name"] for result in results] == ["whole", "no report", "last"]
        assert [(result["complete"], "report" in result) for result in results] == [
            (True, True),
            (False, False),
            (True, False),
        ]
        assert results[1]["finish_reason"] == "too_large"
        assert results[1]["defects"]
        InspectionResult.model_validate(results[1])
        assert station.outbox.drain(LIMIT_S)
        limit[0] = 450
        station.result("nothing", report="x" * 5000)
        event = json.loads(client.wait_for(on("b/event/cam0"))[0].payload)
        assert (event["event_type"], event["part_id"], event["error"]["code"]) == (
            "result_not_sent",
            "nothing",
            "too_large",
        )
        assert station.outbox.drain(LIMIT_S)
        assert station.counters.snapshot() == {"outbox_shortened": 3, "outbox_given_up": 1}


def test_many_cuts_give_nothing_up(client: Client, proxy: Proxy, tmp_path: Path) -> None:
    """Twenty connections that end with a message on its way: each arrives, in order, and none is shortened."""
    cuts = [0]

    def judge(packet: bytes) -> bytes | None:
        if published_topic(packet) and cuts[0] < 20 and packet[-1:] in b"02468":
            cuts[0] += 1
            if cuts[0] % 4:
                return CLOSE
        return None

    with sending(proxy.port, tmp_path) as station:
        proxy.judge = judge
        station.put("b/cam0", *"0123456789")
        client.wait_for(on("b/cam0"), count=10)
        assert station.outbox.drain(LIMIT_S)
        assert texts(client, "b/cam0") == list("0123456789")
        assert station.counters.snapshot() == {}
