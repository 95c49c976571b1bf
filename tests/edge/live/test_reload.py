"""A new station file is taken while the station runs; a bad one is refused, and the old one goes on."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lineside.edge.calls.calls import Calls
from lineside.edge.calls.running import Running
from lineside.edge.config import Config
from lineside.edge.daemon import Daemon
from lineside.edge.station_file import load_config
from lineside.runtime.chat import ToolCall
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.station import LINESIDE
from tests.support.wait import LIMIT_S

BASE = "lineside/press4"
FILE = """
[station]
name = "press4"
drain_s = {drain_s}
[mqtt]
host = "127.0.0.1"
port = {port}
[model]
threads = 1
[inspect]
max_age_s = 3600.0
part = "ball screw"
pass_below = {pass_below}
fail_above = 1.0
[cameras.cam0]
kind = "mqtt"
{camera}
[tools.stop_line]
description = "Stop the line."
python = "tests.edge.live.test_reload:stop_line"
wait_s = 60.0
{tool}
"""
begun, may_end = threading.Event(), threading.Event()


def stop_line() -> str:
    begun.set()
    may_end.wait(LIMIT_S)
    return "stopped"


class StationFile:
    def __init__(self, folder: Path, port: int) -> None:
        self.path = folder / "station.toml"
        self._said = {"port": port, "pass_below": 0.0, "camera": "", "tool": "", "drain_s": LIMIT_S}
        self.write()

    def write(self, **changes: object) -> None:
        self.path.write_text(FILE.format(**self._said | changes))

    def load(self) -> Config:
        return load_config(self.path)


@pytest.fixture
def file(tmp_path: Path, broker: Mosquitto) -> StationFile:
    begun.clear()
    may_end.clear()
    return StationFile(tmp_path, broker.port)


def stop(calls: Calls, call_id: str, reports: list[str]) -> None:
    report = calls.carry_out(ToolCall(call_id, "stop_line", {}), deadline=time.monotonic() + LIMIT_S)
    reports.append(report.outcome if report.outcome != "refused" else report.code)


def test_settings_cameras_and_tools_are_taken_and_a_bad_file_is_not(
    file: StationFile, client: Client, pictures: list[Path]
) -> None:
    with Daemon(file.load()) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.publish(f"{BASE}/frame/cam0", pictures[0].read_bytes())
        assert client.on(f"{BASE}/result/cam0")[0].json()["verdict"] != "pass"

        file.write(pass_below=1.0, tool="allowed = false", camera="[cameras.cam1]\nkind = 'mqtt'")
        daemon.reloader.ask()
        client.wait_for(lambda m: m.topic == f"{BASE}/info" and m.json()["cameras"] == ["cam0", "cam1"])
        client.publish(f"{BASE}/frame/cam1", pictures[0].read_bytes())
        assert client.on(f"{BASE}/result/cam1")[0].json()["verdict"] == "pass"
        reports: list[str] = []
        stop(daemon.calls, "1", reports)
        assert reports == ["not_allowed"]

        file.write(pass_below=2.0)
        daemon.reloader.ask()
        events = client.on(f"{BASE}/event/station", 2)
        assert [event.json()["event_type"] for event in events] == ["station_changed", "station_refused"]
        assert "inspect.pass_below" in events[1].json()["error"]["message"]
        client.wait_for(lambda m: m.topic == f"{BASE}/info" and any("pass_below" in s for s in m.json()["degraded"]))
        client.publish(f"{BASE}/frame/cam1", pictures[1].read_bytes())
        assert client.on(f"{BASE}/result/cam1", 2)[1].json()["verdict"] == "pass"


def test_what_only_a_start_takes_up_is_named(file: StationFile, client: Client) -> None:
    with Daemon(file.load()) as daemon:
        file.write(port=1)
        daemon.reloader.ask()
        message = client.on(f"{BASE}/event/station")[0].json()["error"]["message"]
    assert "`mqtt` cannot change while the station runs" in message


def test_a_camera_and_its_inspection_are_switched_off_and_on(
    file: StationFile, client: Client, pictures: list[Path]
) -> None:
    file.write(camera="enabled = false")
    with Daemon(file.load()) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for count, (camera, key) in enumerate((("", "enabled"), ("inspected = false", "inspected")), start=1):
            if count == 2:
                file.write(camera=camera)
                daemon.reloader.reload()
            client.publish(f"{BASE}/frame/cam0", pictures[0].read_bytes())
            rejected = client.on(f"{BASE}/event/cam0", count)[-1].json()
            assert rejected["error"]["code"] == "switched_off"
            assert f"cameras.cam0.{key}" in rejected["error"]["message"]
            assert any(f"cameras.cam0.{key}" in sentence for sentence in daemon.degraded.sentences())
        file.write()
        daemon.reloader.reload()
        client.publish(f"{BASE}/frame/cam0", pictures[0].read_bytes())
        assert client.on(f"{BASE}/result/cam0")
        assert not any("switched off" in sentence for sentence in daemon.degraded.sentences())


def test_a_call_that_runs_ends_before_new_rules_are_in_use(file: StationFile, client: Client) -> None:
    del client
    with Daemon(file.load()) as daemon:
        reports: list[str] = []
        running = threading.Thread(target=stop, args=(daemon.calls, "1", reports))
        running.start()
        assert begun.wait(LIMIT_S)
        file.write(tool="cool_down_s = 1000.0")
        reloading = threading.Thread(target=daemon.reloader.reload)
        reloading.start()
        may_end.set()
        running.join()
        reloading.join()
        stop(daemon.calls, "2", reports)  # what the former rules let through counts
    assert reports == ["achieved", "cool_down"]


@pytest.mark.parametrize(("drain_s", "outcome"), [(LIMIT_S, "achieved"), (0.0, "issued")])
def test_a_station_that_stops_leaves_a_running_tool_its_time(
    file: StationFile, client: Client, monkeypatch: pytest.MonkeyPatch, drain_s: float, outcome: str
) -> None:
    """It ends once it is waited for; where it has no time, its report says that the station did not wait."""
    del client
    wait = Running.wait

    def waited_for(running: Running, timeout_s: float) -> bool:
        if timeout_s:
            may_end.set()
        return wait(running, timeout_s)

    monkeypatch.setattr(Running, "wait", waited_for)
    file.write(drain_s=drain_s)
    reports: list[str] = []
    with Daemon(file.load()) as daemon:
        running = threading.Thread(target=stop, args=(daemon.calls, "1", reports))
        running.start()
        assert begun.wait(LIMIT_S)
    running.join()
    may_end.set()
    assert reports == [outcome]


def test_sighup_has_a_running_process_take_its_file(file: StationFile, client: Client) -> None:
    process = subprocess.Popen([*LINESIDE, "run", "-c", str(file.path)], stderr=subprocess.DEVNULL)
    try:
        client.wait_for(lambda m: m.topic == f"{BASE}/status" and m.payload == b"online")
        file.write(camera="[cameras.cam1]\nkind = 'mqtt'")
        process.send_signal(signal.SIGHUP)
        client.wait_for(lambda m: m.topic == f"{BASE}/info" and m.json()["cameras"] == ["cam0", "cam1"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
