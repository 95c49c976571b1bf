"""What a station tells of itself: to Prometheus, on `health`, and on the screen of `lineside top`."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from lineside.edge.command_line.top import watch
from lineside.edge.config import Config, MetricsConfig
from lineside.edge.daemon import Daemon
from lineside.edge.errors import EdgeError
from lineside.edge.metrics import SERIES
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import BASE, TOPICS, station
from tests.support.wait import LIMIT_S, until

pytestmark = pytest.mark.plain_broker


@pytest.fixture
def config(broker: Mosquitto, tmp_path: Path) -> Config:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    return replace(station(broker, tmp_path), metrics=MetricsConfig(port))


@pytest.fixture
def busy(config: Config, client: Client, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """It has inspected a frame, rejected another, and answered a command."""
    monkeypatch.setattr("lineside.edge.announcements.HEALTH_EVERY_S", 0.2)
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(TOPICS.frame("cam0"), pictures[0].read_bytes(), qos=1)
        client.publish(TOPICS.frame("cam0"), b"no picture", qos=1)
        client.publish(TOPICS.command("ask"), "What is the weather on Mars?")
        client.on(TOPICS.result("cam0"))
        client.on(TOPICS.event("cam0"))
        client.on(TOPICS.response("ask"))
        until(lambda: {"results", "commands_failed"} <= daemon.counters.snapshot().keys())
        yield daemon


def samples(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric and labels, in the order of their names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as page:
        text = page.read().decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_prometheus_and_health_tell_the_same(busy: Daemon, config: Config, client: Client) -> None:
    found = samples(config.metrics.port)
    until(lambda: any(m.topic == TOPICS.health and m.json()["counters"].get("results") for m in client.received))
    verdict = client.on(TOPICS.result("cam0"))[0].json()["verdict"]
    assert found["lineside_results_total"] == {("cam0", "model", verdict): 1}
    assert found["lineside_frames_rejected_total"] == {("cam0", "picture_undecodable"): 1}
    assert sum(found["lineside_commands_failed_total"].values()) == 1
    assert found["lineside_frame_seconds_count"]["total",] == 1
    assert found["lineside_frame_seconds_sum"]["vision",] > 0
    assert found["lineside_first_token_seconds_count"]["frame",] >= 1
    assert found["lineside_first_token_seconds_count"]["command",] >= 1
    assert found["lineside_tokens_prompt_total"]["frame",] > 100
    assert found["lineside_model_info"]["default", "frames", busy.engine.bundle.sha256] == 1

    def told_alike() -> bool:  # once nothing more happens
        last = [message.json() for message in client.received if message.topic == TOPICS.health][-1]
        page = samples(config.metrics.port)
        return all(sum(page[f"lineside_{name}_total"].values()) == n for name, n in last["counters"].items())

    until(told_alike)
    health = [message.json() for message in client.received if message.topic == TOPICS.health][-1]
    for split in health["split"]:
        assert tuple(sorted(split["labels"])) == SERIES[split["name"]]
    assert health["models"]["frames"]["sha256"] == busy.engine.bundle.sha256
    for key, metric in (("outbox_messages", "outbox_messages"), ("uptime_s", "uptime_seconds")):
        assert key in health
        assert f"lineside_{metric}" in found


@pytest.mark.usefixtures("busy")
def test_top_shows_the_station_from_mqtt_alone(config: Config, client: Client) -> None:
    said = {"results", "commands_failed"}
    until(lambda: any(m.topic == TOPICS.health and said <= m.json()["counters"].keys() for m in client.received))
    console = Console(record=True, width=140, file=open("/dev/null", "w"))  # noqa: SIM115
    assert watch(BASE, config.mqtt, once=True, console=console) == 0
    console.file.close()
    shown = console.export_text()
    assert BASE in shown
    assert "online" in shown
    assert "cam0" in shown
    assert "frames rejected 1: cam0 picture_undecodable 1" in shown
    assert "frame vision" in shown
    assert "first_token command" in shown
    assert "tokens    " in shown


def test_a_port_that_is_taken_is_said(config: Config) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", config.metrics.port))
        other.listen()
        with pytest.raises(EdgeError, match=r"`metrics\.port`: 127\.0\.0\.1:\d+ cannot be used"):
            Daemon(config)


def test_the_service_manager_is_told(
    broker: Mosquitto, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready when the models are loaded, alive, stopping."""
    del client
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LIMIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with Daemon(station(broker, tmp_path)) as daemon:
            heard = {manager.recv(100), manager.recv(100)}
            assert heard == {b"READY=1", b"WATCHDOG=1"}
            daemon.pulse.begin("pipeline")
            monkeypatch.setattr(daemon.pulse, "_stuck_s", -1.0)
            while (said := manager.recv(100)) == b"WATCHDOG=1":
                pass
            assert said == b"STATUS=stuck: pipeline"
        while (said := manager.recv(100)) != b"STOPPING=1":
            assert said.startswith(b"STATUS=stuck: ")
