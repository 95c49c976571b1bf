"""The announcements on a real broker: kept, repeated, changed, taken back."""

from __future__ import annotations

import dataclasses
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.camera_config import CameraConfig
from lineside.edge.command_line.main import main
from lineside.edge.config import Config, StationConfig
from lineside.edge.counters import Counters
from lineside.edge.daemon import Daemon
from lineside.edge.degraded import Degraded
from lineside.edge.demo.broker import HOST
from lineside.edge.errors import ConfigError
from lineside.edge.home_assistant_config import DiscoveryConfig
from lineside.edge.integrations.home_assistant.link import HomeAssistantLink
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.remote_config import RemoteConfig
from lineside.edge.station_file import load_config
from lineside.edge.tool_config import ToolConfig
from tests.support.broker import Mosquitto
from tests.support.client import Client, Received
from tests.support.wait import LIMIT_S, until

STATION, DOOR = (f"homeassistant/device/lineside_hall{camera}/config" for camera in ("", "-door"))


class Link(HomeAssistantLink):
    """On its own, with a station file that a test changes."""

    def __init__(self, config: Config) -> None:
        self.config, self.degraded = config, Degraded()
        name = config.station.name
        super().__init__(lambda: self.config, name, Counters(), self.degraded, lambda _name, _there: uuid.uuid4().hex)
        self.start()

    def take(self, **changes: Any) -> None:
        self.config = dataclasses.replace(self.config, **changes)
        self.changed()


@pytest.fixture
def config(broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr("lineside.edge.integrations.home_assistant.link.SPREAD_S", 0.0)
    monkeypatch.setattr("lineside.edge.wire.network.FIRST_WAIT_S", 0.05)
    return Config(
        station=StationConfig("hall"),
        mqtt=MqttConfig(host=HOST, port=broker.port),
        home_assistant=DiscoveryConfig(),
        remote=RemoteConfig(("call", "model")),
        cameras={"door": CameraConfig("mqtt")},
        tools={"stop": ToolConfig("Stop."), "go": ToolConfig("Go.")},
        folder=tmp_path,
        file=tmp_path / "station.toml",
    )


@pytest.fixture
def link(config: Config, client: Client) -> Iterator[Link]:
    del client  # it must be subscribed before anything is announced
    running = Link(config)
    yield running
    running.close()


def kept(broker: Mosquitto) -> dict[str, bytes]:
    """What the broker has for somebody who comes now."""
    client = Client(broker)
    client.publish("homeassistant/end", b"end")
    client.on("homeassistant/end")
    client.close()
    return {m.topic: m.payload for m in client.received if m.topic.startswith("homeassistant/device/")}


def components(message: Received) -> dict[str, Any]:
    found: dict[str, Any] = message.json()["cmps"]
    return found


@pytest.mark.usefixtures("link")
def test_each_device_is_one_retained_message(broker: Mosquitto, client: Client) -> None:
    body = client.on(DOOR)[0].json()
    assert body["dev"]["ids"] == ["lineside_hall-door"]
    assert body["dev"]["via_device"] == "lineside_hall"
    assert body["o"]["name"] == "Lineside"
    assert kept(broker) == {m.topic: m.payload for m in (client.on(STATION)[0], client.on(DOOR)[0])}


@pytest.mark.usefixtures("link")
def test_home_assistants_birth_and_a_broker_that_forgot_are_told_anew(
    broker: Mosquitto, config: Config, client: Client
) -> None:
    client.on(DOOR)
    client.publish("homeassistant/status", b"offline")
    client.publish("homeassistant/status", b"online")
    again = client.on(DOOR, 2)
    assert again[0].payload == again[1].payload
    broker.stop()
    broker.forget()
    broker.start()
    until(lambda: len(kept(broker)) == 2)
    assert config.published_path.exists()


def test_what_leaves_the_station_file_is_taken_away(link: Link, client: Client) -> None:
    """A component stays named for a Home Assistant that is away now; a device's topic becomes empty."""
    assert "button-tool-go" in components(client.on(STATION)[0])
    link.take(tools={"stop": ToolConfig("Stop.")}, cameras={})
    client.wait_for(lambda m: m.topic == DOOR and not m.payload)
    changed = client.on(STATION, 2)[1]
    assert components(changed)["button-tool-go"] == {"p": "button"}
    assert components(changed)["button-tool-stop"]["command_topic"] == "lineside/hall/cmd/call"
    link.take(tools={"stop": ToolConfig("Stop."), "go": ToolConfig("Go.")})
    assert len(components(client.on(STATION, 3)[2])["button-tool-go"]) > 1


def test_what_left_while_the_station_was_down_is_taken_away(config: Config, broker: Mosquitto, client: Client) -> None:
    first = Link(config)
    client.on(DOOR)
    first.close()
    second = Link(dataclasses.replace(config, cameras={}, tools={}))
    client.wait_for(lambda m: m.topic == DOOR and not m.payload)
    assert components(client.on(STATION, 2)[1])["button-tool-go"] == {"p": "button"}
    second.close()
    third = Link(dataclasses.replace(config, home_assistant=None))
    assert third.nothing_left.wait(LIMIT_S)
    third.close()
    assert kept(broker) == {}
    assert not config.published_path.exists()


def test_two_stations_on_one_broker(config: Config, tmp_path: Path, link: Link, client: Client) -> None:
    del link
    other = dataclasses.replace(config, station=StationConfig("yard", data="other"), folder=tmp_path)
    second = Link(other)
    yard = "homeassistant/device/lineside_yard/config"
    mine = {each["unique_id"] for each in components(client.on(STATION)[0]).values()}
    assert not mine & {each["unique_id"] for each in components(client.on(yard)[0]).values()}
    second.take(home_assistant=None)
    client.wait_for(lambda m: m.topic == yard and not m.payload)
    assert not [m for m in client.received if m.topic in (STATION, DOOR) and not m.payload]
    second.close()


def test_a_new_model_is_offered_with_its_hash(
    config: Config, client: Client, tmp_path: Path, random_bundle: Path
) -> None:
    """Where nothing is there yet, what runs is the latest."""
    announced = DiscoveryConfig(model_source="next")
    link = Link(dataclasses.replace(config, home_assistant=announced))
    before = components(client.on(STATION)[0])["update-model"]
    assert before["value_template"] == before["latest_version_template"]
    assert "payload_install" not in before
    shutil.copytree(random_bundle, tmp_path / "next")
    link.changed()
    after = components(client.on(STATION, 2)[1])["update-model"]
    install = json.loads(after["payload_install"])
    assert install["source"] == "next"
    assert install["sha256"][:12] in after["latest_version_template"]
    link.close()


def test_a_broker_that_refuses_it_is_named(config: Config, broker: Mosquitto) -> None:
    broker.restrict("topic read #\ntopic write lineside/#\n")
    link = Link(config)
    until(lambda: any("homeassistant/device/" in sentence for sentence in link.degraded.sentences()))
    link.close()


def test_a_damaged_memory_is_named(config: Config) -> None:
    config.published_path.write_text("[")
    with pytest.raises(ConfigError, match=r"station\.home-assistant\.json cannot be read"):
        Link(config)


def test_a_station_says_which_cameras_are_stale(
    broker: Mosquitto, client: Client, tmp_path: Path, random_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In `info`, which is what makes a camera unavailable; and the table itself comes and goes with a start."""
    file = tmp_path / "station.toml"
    text = f'[station]\nname = "hall"\n[mqtt]\nport = {broker.port}\n[model]\nbundle = "{random_bundle}"\nthreads = 1\n'
    text += '[remote]\nallow = ["switch"]\n[cameras.door]\nkind = "mqtt"\ninterval_s = 0.1\n'
    file.write_text(f"{text}[home_assistant]\n")
    with Daemon(load_config(file)) as daemon:
        assert daemon.wait_online(LIMIT_S)
        client.on(DOOR)
        stale = client.wait_for(lambda m: m.topic == "lineside/hall/info" and m.json()["stale"] == ["door"])[0].json()
        assert stale["remote"]["settings"] == {"cameras.door.enabled": True, "cameras.door.inspected": True}
    assert main(["home-assistant", str(file)]) == 0
    assert '"lineside_hall-door"' in capsys.readouterr().out
    file.write_text(text)
    with Daemon(load_config(file)):
        client.wait_for(lambda m: m.topic == DOOR and not m.payload)
        client.wait_for(lambda m: m.topic == STATION and not m.payload)
        until(lambda: not (tmp_path / "station.home-assistant.json").exists())
    assert main(["home-assistant", str(file), "--remove"]) == 0
    assert "nothing of this station" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ('cameras = ["hof"]', "'hof' is no camera of the station; it has door"),
        ('model_source = "next"', 'add "model" to `[remote] allow`'),
        ('discovery_prefix = "lineside/hall"', "below the station's own base topic"),
        ('discovery_prefix = "a/#"', "home_assistant.discovery_prefix"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path: Path, table: str, sentence: str) -> None:
    file = tmp_path / "station.toml"
    file.write_text(f'[station]\nname = "hall"\n[cameras.door]\nkind = "mqtt"\n[home_assistant]\n{table}\n')
    with pytest.raises(ConfigError) as raised:
        load_config(file)
    assert sentence in str(raised.value)


def test_a_variable_makes_the_table(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text("")
    assert load_config(file, {}).home_assistant is None
    made = load_config(file, {"LINESIDE_HOME_ASSISTANT__DISCOVERY_PREFIX": "ha"}).home_assistant
    assert made == DiscoveryConfig("ha")
