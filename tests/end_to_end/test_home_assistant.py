"""A station in a real Home Assistant: what appears there, changes with a verdict, works backwards, and goes again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from lineside.edge.command_line.main import main
from lineside.edge.daemon import Daemon
from lineside.edge.station_file import load_config
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.home_assistant import MISSING, HomeAssistant, is_there
from tests.support.wait import LIMIT_S, until

pytestmark = [
    pytest.mark.plain_broker,
    pytest.mark.skipif(not is_there(), reason=MISSING),
]
BASE = "lineside/hall"
PLATFORMS = ("binary_sensor", "button", "event", "image", "number", "select", "sensor", "switch", "text", "update")
NONE = ("unknown", "unavailable", None)
HALL = Path(__file__).parents[1] / "support/hall.toml"


class Plant(Client):
    """Devices that do what they are told, and say so, retained."""

    def _handle(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        super()._handle(client, data, message)
        if message.topic.startswith("plant/") and message.topic.endswith("/set"):
            client.publish(message.topic.removesuffix("/set"), message.payload, qos=1, retain=True)


@pytest.fixture
def home(broker: Mosquitto, tmp_path: Path) -> Iterator[HomeAssistant]:
    running = HomeAssistant(tmp_path / "home-assistant", broker.port)
    yield running
    running.close()


@pytest.fixture
def plant(broker: Mosquitto) -> Iterator[Plant]:
    running = Plant(broker)
    yield running
    running.close()


@dataclass(frozen=True)
class Hall:
    """A station, its devices, and Home Assistant, on one broker."""

    home: HomeAssistant
    plant: Plant
    daemon: Daemon
    pictures: list[Path]

    def frame(self, camera: str) -> None:
        self.plant.publish(f"{BASE}/frame/{camera}", self.pictures[0].read_bytes(), qos=0)

    def announced(self) -> dict[str, dict[str, Any]]:
        """Components by unique id, as the newest message on each discovery topic says."""
        newest = {m.topic: m.payload for m in self.plant.received if m.topic.startswith("homeassistant/device/")}
        bodies = [json.loads(payload) for payload in newest.values() if payload]
        return {each["unique_id"]: each for body in bodies for each in body["cmps"].values() if "unique_id" in each}


def test_a_station_in_home_assistant(
    broker: Mosquitto,
    home: HomeAssistant,
    plant: Plant,
    tmp_path: Path,
    pictures: list[Path],
    random_bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One core for all of it: starting one takes longer than all else."""
    file = tmp_path / "station.toml"
    file.write_text(HALL.read_text().replace("port = 0", f"port = {broker.port}"))
    shutil.copytree(random_bundle, tmp_path / "next")
    with Daemon(load_config(file)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        hall = Hall(home, plant, daemon, pictures)
        everything_appears(hall)
        it_changes_with_a_verdict(hall)
        a_camera_is_switched(hall)
        tools_are_called(hall)
        a_sentence_is_answered(hall)
        a_new_model_is_offered(hall)
        what_leaves_the_station_file_goes(hall, file)
        said = home.ask("logs")
        assert said["outside"] == []
        assert [line for line in said["warnings"] if "lineside" in line or "mqtt." in line] == []
        assert main(["home-assistant", str(file), "--remove"]) == 0
        assert "taken back: homeassistant/device/lineside_hall/config" in capsys.readouterr().out
        until(lambda: home.ask("entities") == {})
    assert not (tmp_path / "station.home-assistant.json").exists()


def everything_appears(hall: Hall) -> None:
    """With every key of its payload, and a state."""
    home = hall.home
    until(lambda: "lineside_hall-parcel-button-look" in hall.announced())
    announced = hall.announced()
    until(lambda: home.ask("entities").keys() == announced.keys())
    entities = home.ask("entities")
    assert {each["p"] for each in announced.values()} == set(PLATFORMS)
    assert {name: entity["dropped"] for name, entity in entities.items() if entity["dropped"]} == {}
    devices = home.ask("devices")
    assert {name: device["via"] for name, device in devices.items()} == {
        "lineside_hall": None,
        "lineside_hall-door": "lineside_hall",
        "lineside_hall-gate": "lineside_hall",
        "lineside_hall-parcel": "lineside_hall",
        "lineside_hall-yard": "lineside_hall",
    }
    home.wait_for("binary_sensor.hall_status", "on")
    home.wait_for("binary_sensor.hall_degraded", "off")
    home.wait_for("sensor.hall_what_is_degraded", "nothing")
    home.wait_for("sensor.hall_model", hall.daemon.engine.bundle.manifest.name)


def it_changes_with_a_verdict(hall: Hall) -> None:
    """Which thresholds of Home Assistant make a fail of, and a pass."""
    home = hall.home
    home.call("number.set_value", "number.hall_pass_below", value=0)
    home.wait_for("number.hall_pass_below", lambda state: float(state["state"]) == 0)
    home.call("number.set_value", "number.hall_fail_above", value=0)
    home.wait_for("number.hall_fail_above", lambda state: float(state["state"]) == 0)
    hall.frame("door")
    home.wait_for("sensor.hall_door_verdict", "fail")
    home.wait_for("binary_sensor.hall_door_problem", "on")
    home.wait_for("event.hall_door_result", lambda state: state["event_type"] == "fail")
    result = hall.plant.on(f"{BASE}/result/door")[0].json()
    probability = home.wait_for("sensor.hall_door_fail_probability", lambda state: state["state"] not in NONE)
    assert float(probability["state"]) == pytest.approx(100 * result["fail_probability"], abs=0.01)
    home.wait_for("sensor.hall_door_defects", str(len(result["defects"])))
    home.wait_for("sensor.hall_door_latency", str(round(result["timing_ms"]["total"], 1)))
    home.wait_for("image.hall_door", lambda state: state["state"] not in NONE)
    snapshot = hall.plant.on(f"{BASE}/snapshot/door")[0].payload
    assert home.ask("image", entity_id="image.hall_door") == len(snapshot)
    home.call("number.set_value", "number.hall_fail_above", value=1)
    home.wait_for("number.hall_fail_above", lambda state: float(state["state"]) == 1)
    home.call("number.set_value", "number.hall_pass_below", value=1)
    home.wait_for("number.hall_pass_below", lambda state: float(state["state"]) == 1)
    hall.frame("door")
    home.wait_for("sensor.hall_door_verdict", "pass")
    home.wait_for("binary_sensor.hall_door_problem", "off")
    assert home.state("sensor.hall_gate_verdict")["state"] == "unknown"
    home.call("button.press", "button.hall_parcel_look_now")
    hall.plant.on(f"{BASE}/trigger/parcel")
    hall.frame("gate")
    home.wait_for("sensor.hall_parcel_verdict", "pass")
    home.wait_for("event.hall_parcel_result", lambda state: state["event_type"] == "pass")
    home.wait_for("sensor.hall_gate_verdict", "pass")


def a_camera_is_switched(hall: Hall) -> None:
    """Its inspection by Home Assistant, which also sees one that is switched off as a whole."""
    home, plant = hall.home, hall.plant
    home.wait_for("switch.hall_door_inspection", "on")
    home.call("switch.turn_off", "switch.hall_door_inspection")
    home.wait_for("switch.hall_door_inspection", "off")
    plant.publish(f"{BASE}/frame/door", hall.pictures[0].read_bytes())
    rejected = home.wait_for("event.hall_door_event", lambda state: state.get("event_type") == "frame_rejected")
    assert rejected["error"]["code"] == "switched_off"
    home.wait_for("binary_sensor.hall_degraded", "on")
    home.call("switch.turn_on", "switch.hall_door_inspection")
    home.wait_for("switch.hall_door_inspection", "on")
    body = {"camera": "yard", "what": "camera", "on": False}
    plant.publish(f"{BASE}/cmd/switch", json.dumps(body), correlation=b"yard")
    home.wait_for("sensor.hall_yard_verdict", "unavailable")
    assert home.state("switch.hall_yard_inspection")["state"] == "on"
    assert home.state("sensor.hall_door_verdict")["state"] == "pass"


def tools_are_called(hall: Hall) -> None:
    """Each with the component that fits its arguments; what the device then says is its state."""
    home, plant = hall.home, hall.plant
    home.call("number.set_value", "number.hall_set_fan", value=40)
    assert plant.on("plant/fan/set")[0].json() == {"speed": 80}
    home.wait_for("number.hall_set_fan", "40")
    home.call("switch.turn_on", "switch.hall_set_lamp_living_room")
    home.wait_for("switch.hall_set_lamp_living_room", "on")
    assert home.state("switch.hall_set_lamp_kitchen")["state"] == "unknown"
    home.call("select.select_option", "select.hall_set_mode", option="fast")
    home.wait_for("select.hall_set_mode", "fast")
    home.call("text.set_value", "text.hall_show", value='say "hello" {{ 1 }}')
    assert plant.on("plant/display/set")[0].payload == b'say "hello" {{ 1 }}'
    home.call("button.press", "button.hall_stop_line")
    assert plant.on("plant/line/set")[0].payload == b"stop"
    home.call("button.press", "button.hall_open_gate")
    asked = home.wait_for("event.hall_open_gate_confirmation", lambda state: "call_id" in state)
    answer = {"id": asked["call_id"], "confirmed": True, "by": "anna"}
    payload = json.dumps(answer)
    home.ask("call", domain="mqtt", service="publish", data={"topic": f"{BASE}/confirm/open_gate", "payload": payload})
    assert plant.on("plant/barrier/set")[0].payload == b"open"
    last = home.wait_for(
        "sensor.hall_last_call", lambda state: (state.get("calls") or [{}])[0].get("name") == "open_gate"
    )
    assert last["state"] == "issued"


def a_sentence_is_answered(hall: Hall) -> None:
    """On the sensor of the reply; one about a camera on the camera's own."""
    home, plant = hall.home, hall.plant
    home.call("text.set_value", "text.hall_command", value="fan to 20 percent")
    home.wait_for("number.hall_set_fan", "20")
    home.wait_for("sensor.hall_reply", "achieved")
    plant.publish("plant/warmth", "21", retain=True)
    home.wait_for("sensor.hall_is_warm", "21")
    until(lambda: hall.daemon.calls.states.known("is_warm", {}) is not None)
    home.call("text.set_value", "text.hall_command", value="how warm is it")
    assert home.wait_for("sensor.hall_reply", "21 degrees.")["ok"] is True
    assert home.state("sensor.hall_door_answer")["state"] == "unknown"
    home.call("button.press", "button.hall_door_describe")
    answered = home.wait_for("sensor.hall_door_answer", lambda state: state["state"] not in NONE)
    assert answered["text"].startswith(answered["state"].removesuffix("...")[:200])


def a_new_model_is_offered(hall: Hall) -> None:
    """It gives other verdicts, so the station refuses it and keeps its own; Home Assistant is told."""
    home = hall.home
    update = home.wait_for("update.hall_model", "on")
    assert update["installed_version"] != update["latest_version"]
    home.call("update.install", "update.hall_model")
    home.wait_for("event.hall_event", lambda state: state["event_type"] in ("model_refused", "model_switched"))


def what_leaves_the_station_file_goes(hall: Hall, file: Path) -> None:
    text = file.read_text().replace('[cameras.yard]\nkind = "mqtt"\n', "")
    start, end = text.index("[tools.show]"), text.index("[tools.stop_line]")
    file.write_text(text[:start] + text[end:])
    hall.daemon.reloader.reload()
    until(lambda: "lineside_hall-yard" not in hall.home.ask("devices"))
    until(lambda: hall.home.ask("entities").keys() == hall.announced().keys())
    left = hall.home.ask("entities")
    assert "lineside_hall-text-tool-show" not in left
    assert "lineside_hall-button-tool-stop_line" in left
