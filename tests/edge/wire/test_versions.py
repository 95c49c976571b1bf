"""MQTT 5 where the broker has it, 3.1.1 where it has not: found out by itself, and said once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.edge.wire.traffic import Ending
from tests.support.broker import Mosquitto
from tests.support.line import Line
from tests.support.older_broker import OlderClient, older_broker
from tests.support.proxy import CLOSE, Judge, Proxy

CONNECT, LEVEL = 0x10, 8
REFUSED_3_1_1, REFUSED_5 = b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"
"""As a broker of 3.1.1 refuses a version, and one of 5."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("lineside.edge.wire.network.LONGEST_WAIT_S", 0.2)


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[Proxy]:
    between = Proxy(broker.port)
    yield between
    between.close()


def judge(answer: bytes, seen: list[int], times: int = 1000) -> Judge:
    """Answers so many connections with 5; notes the version of each."""

    def look(packet: bytes) -> bytes | None:
        if packet[0] & 0xF0 != CONNECT:
            return None
        seen.append(packet[LEVEL])
        return answer if packet[LEVEL] == 5 and seen.count(5) <= times else None

    return look


@pytest.mark.parametrize(
    ("answer", "versions"),
    [(REFUSED_3_1_1, [5, 4]), (REFUSED_5, [5, 4]), (CLOSE, [5, 4, 5, 4])],
    ids=["refused as in 3.1.1", "refused as in 5", "closed"],
)
def test_a_broker_without_5(proxy: Proxy, answer: bytes, versions: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """After a loss 5 is asked for again, and after that nothing is said again."""
    seen: list[int] = []
    proxy.judge = judge(answer, seen)
    with caplog.at_level(logging.WARNING), Line(proxy.port) as line:
        line.wait_online()
        assert seen == versions
        client = OlderClient(proxy.port, "out/x")
        for payload in (b"x" * 300_000, b"1", b"2"):
            line.connection.publish("out/x", payload, correlation=b"c", expiry_s=10)
            client.publish("in/x", payload)
        line.wait_for(b"x" * 300_000, b"1", b"2")
        assert client.wait_for(lambda found: len(found) == 3, "out/x") == [b"x" * 300_000, b"1", b"2"]
        (sentence,) = line.degraded.sentences()
        assert sentence.startswith(f"the broker at 127.0.0.1:{proxy.port} has no MQTT 5: with 3.1.1 there is no")
        line.connection.drop()
        line.wait_online(2)
        assert seen[len(versions) + 1 :] == [5, 4]  # behind the client's own
        assert [record.message for record in caplog.records].count(sentence) == 1
        assert line.degraded.sentences() == [sentence]
        client.close()


def test_a_broker_that_gets_5_is_spoken_to_in_5(proxy: Proxy) -> None:
    seen: list[int] = []
    proxy.judge = judge(REFUSED_3_1_1, seen, times=1)
    with Line(proxy.port) as line:
        line.wait_online()
        assert line.degraded.sentences()
        line.connection.drop()
        line.wait_online(2)
        assert seen == [5, 4, 5]
        assert line.degraded.sentences() == []


@pytest.mark.parametrize(("times", "versions"), [(1, [5, 4, 5]), (2, [5, 4, 5, 4])])
def test_a_connection_that_is_closed_once_costs_no_version(proxy: Proxy, times: int, versions: list[int]) -> None:
    """Whoever closed it may as well have been a broker that starts. Twice, with 3.1.1 taken in between, is proof."""
    seen: list[int] = []
    proxy.judge = judge(CLOSE, seen, times)
    with Line(proxy.port) as line:
        line.wait_online()
        assert seen == versions
        assert bool(line.degraded.sentences()) == (versions[-1] == 4)


def test_who_takes_neither_is_told_once_a_round(proxy: Proxy) -> None:
    seen: list[int] = []

    def close(packet: bytes) -> bytes | None:
        seen.append(packet[LEVEL])
        return CLOSE

    proxy.judge = close
    with Line(proxy.port) as line:
        line.wait_until(lambda: len(line.causes) == 3, "too few causes")
    assert seen[:6] == [5, 4, 5, 4, 5, 4]
    assert "closes the connection without an answer" in line.causes[0]


def test_a_real_broker_of_3_1_1(tmp_path: Path) -> None:
    with older_broker(tmp_path) as port, Line(port) as line:
        line.wait_online()
        client = OlderClient(port, "out/x")
        line.connection.publish("out/x", b"out")
        client.publish("in/x", b"in")
        line.wait_for(b"in")
        client.wait_for(lambda found: found == [b"out"], "out/x")
        client.close()


def test_nothing_arrives_late_over_3_1_1(proxy: Proxy) -> None:
    """The broker knows no expiry: what hangs on the line is called back all the same."""
    seen: list[int] = []
    proxy.judge = judge(REFUSED_3_1_1, seen)
    client = OlderClient(proxy.port, "call/stop")
    with Line(proxy.port) as line:
        line.wait_online()
        endings: list[Ending] = []
        proxy.to_broker.clear()
        line.connection.publish("call/stop", b"late", deadline=time.monotonic() + 0.3, ended=endings.append)
        line.wait_until(lambda: endings == [Ending("lost")], "not called back")
        proxy.to_broker.set()
        line.wait_online(2)
        line.connection.publish("call/stop", b"in time", deadline=time.monotonic() + 20)
        assert client.wait_for(lambda found: len(found) > 0, "call/stop") == [b"in time"]
    client.close()
