"""The station `car` with Mosquitto's own command-line clients: one is the car, the other the driver's microphone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.config import Config, StoreConfig
from lineside.edge.daemon import Daemon
from lineside.edge.station_file import load_config
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.wait import LIMIT_S

pytestmark = [
    pytest.mark.plain_broker,
    pytest.mark.skipif(shutil.which("mosquitto_rr") is None, reason="needs mosquitto_rr (mosquitto-clients)"),
]
CAR = """
mosquitto_sub -p {port} -q 1 -v -t 'vehicle/set/#' | while read -r topic value; do
    mosquitto_pub -p {port} -q 1 -t "vehicle/${{topic#vehicle/set/}}" -m "$value"
done
"""
"""As in docs/vehicle.md: it does what it is told, and says so."""


class Car:
    def __init__(self, port: int) -> None:
        self._port = str(port)

    def says(self, signal: str, value: Any) -> None:
        self._run("mosquitto_pub", "-q", "1", "-t", f"vehicle/{signal}", "-m", json.dumps({"value": value}))

    def hears(self, sentence: str) -> dict[str, Any]:
        """The driver says something; the reply."""
        topics = ("-t", "lineside/car/cmd/ask", "-e", "clients/driver", "-D", "publish", "correlation-data", sentence)
        said = self._run("mosquitto_rr", "-V", "5", "-W", str(int(LIMIT_S)), *topics, "-m", sentence)
        reply: dict[str, Any] = json.loads(said)
        return reply

    def _run(self, program: str, *arguments: str) -> str:
        ran = subprocess.run([program, "-p", self._port, *arguments], capture_output=True, timeout=LIMIT_S, check=True)
        return ran.stdout.decode()


@pytest.fixture
def car(broker: Mosquitto, tmp_path: Path) -> Iterator[Car]:
    config: Config = load_config(ROOT / "deploy/stations/car/station.toml")
    config = dataclasses.replace(
        config,
        mqtt=dataclasses.replace(config.mqtt, port=broker.port),
        store=StoreConfig(str(tmp_path / "lineside.db")),
        safety=dataclasses.replace(config.safety, max_age_s=LIMIT_S),
    )
    obeying = subprocess.Popen(["sh", "-c", CAR.format(port=broker.port)], start_new_session=True)
    try:
        with Daemon(config) as daemon:
            assert daemon.wait_online(LIMIT_S)
            yield Car(broker.port)
    finally:
        subprocess.run(["kill", "--", f"-{obeying.pid}"], check=True)
        obeying.wait(LIMIT_S)


def test_a_driver_speaks_four_languages_and_the_car_says_what_is_safe(car: Car) -> None:
    warm = car.hears("72 degrees fahrenheit please")
    assert [(call["arguments"], call["outcome"]) for call in warm["calls"]] == [({"value": 22}, "achieved")]
    unknown = car.hears("open the trunk")
    assert unknown["error"]["code"] == "not_safe_unknown"
    car.says("Speed", 50)
    assert "50" in car.hears("how fast are we going?")["text"]
    moving = car.hears("öffne den Kofferraum")
    assert (moving["error"]["code"], moving["calls"][0]["outcome"]) == ("not_safe", "refused")
    car.says("Speed", 0)
    assert "0 km/h" in car.hears("how fast are we going now?")["text"]
    assert car.hears("ouvre le coffre")["calls"][0]["outcome"] == "achieved"
