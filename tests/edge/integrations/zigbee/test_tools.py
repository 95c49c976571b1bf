"""What the features of Zigbee2MQTT's devices become: functions with their ranges, questions, phrases, and guards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.commands.phrases.phrasing import Phrases, phrases_of
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError, EdgeError
from lineside.edge.integrations.zigbee.listing import from_file, read_listing, to_file
from lineside.edge.integrations.zigbee.offered import with_devices, with_kept_devices
from lineside.edge.tool_config import ToolConfig
from lineside.edge.tool_templates import expectation, payload_template, query_template, state_reader
from lineside.edge.zigbee_config import Zigbee2MqttConfig, ZigbeeDeviceConfig
from tests.support.zigbee import BASE, EXPOSES, binary, choice, devices, groups, numeric

ALL = {name: ZigbeeDeviceConfig() for name in (*EXPOSES, "lamps")}


def offered(exposes: dict[str, Any] | None = None, **named: ZigbeeDeviceConfig) -> Config:
    """A station with these devices, or with all of a home."""
    listing = read_listing(devices(exposes), groups() if exposes is None else b"")
    config, problems = with_devices(Config(zigbee2mqtt=Zigbee2MqttConfig(devices=named or ALL)), listing)
    assert problems == {}
    return config


@pytest.fixture(scope="module")
def home() -> Config:
    return offered()


@pytest.fixture(scope="module")
def phrases() -> Phrases:
    """One device of each kind: matching is made ready in seconds."""
    named = {name: ZigbeeDeviceConfig() for name in EXPOSES if name != "hall/ceiling"}
    return phrases_of(offered(None, **named | {"blind": ZigbeeDeviceConfig(words=("Rollo", "store"))}))


def told(tool: ToolConfig, name: str, **arguments: Any) -> Any:
    return payload_template(name, tool)(arguments)


def test_only_what_is_named_is_offered_and_nothing_for_settings_and_diagnosis(home: Config) -> None:
    config = offered(None, kitchen_lamp=ZigbeeDeviceConfig())
    assert set(config.tools) == {
        "set_kitchen_lamp_state",
        "read_kitchen_lamp_state",
        "set_kitchen_lamp_brightness",
        "read_kitchen_lamp_brightness",
        "set_kitchen_lamp_color_temp",
        "read_kitchen_lamp_color_temp",
        "set_kitchen_lamp_effect",
    }
    assert not [name for name in home.tools if "linkquality" in name or "battery" in name or "child_lock" in name]
    named = offered(None, radiator=ZigbeeDeviceConfig("heat", features=("battery", "child_lock")))
    assert set(named.tools) == {"read_heat_battery", "set_heat_child_lock", "read_heat_child_lock"}


@pytest.mark.parametrize(
    ("tool", "arguments", "payload", "says", "state"),
    [
        ("set_kitchen_lamp_state", {"state": "on"}, {"state": "ON"}, {"state": "ON"}, "ON"),
        ("set_kitchen_lamp_brightness", {"percent": 50}, {"brightness": 127}, {"brightness": 126}, 50),
        ("set_kitchen_lamp_color_temp", {"kelvin": 2700}, {"color_temp": 370}, {"color_temp": 370}, 370),
        ("set_blind_position", {"percent": 30}, {"position": 30}, {"position": 30}, 30),
        ("set_blind_state", {"state": "close"}, {"state": "CLOSE"}, {"state": "CLOSE"}, "CLOSE"),
        (
            "set_radiator_occupied_heating_setpoint",
            {"temperature": 21.1},
            {"occupied_heating_setpoint": 21.0},
            {"occupied_heating_setpoint": 21},
            21,
        ),
        ("set_front_door_state", {"state": "unlock"}, {"state": "UNLOCK"}, {"state": "UNLOCK"}, "UNLOCK"),
        ("set_two_gang_state_left", {"state": "off"}, {"state_left": "OFF"}, {"state_left": "OFF"}, "OFF"),
    ],
)
def test_a_call_says_what_the_device_understands_and_its_state_is_read(
    home: Config, tool: str, arguments: dict[str, Any], payload: dict[str, Any], says: dict[str, Any], state: Any
) -> None:
    config = home.tools[tool]
    assert config.publish is not None
    assert config.state is not None
    assert told(config, tool, **arguments) == payload
    assert state_reader(tool, config.state)(json.dumps(says).encode()) == state
    assert expectation(tool, config, config.state)(arguments) == pytest.approx(state, abs=config.state.within)
    assert config.publish.topic == f"{config.state.topic}/set"


def test_ranges_are_those_of_the_device(home: Config) -> None:
    def schema(tool: str) -> Any:
        (found,) = home.tools[tool].parameters["properties"].values()
        return found

    assert schema("set_kitchen_lamp_color_temp") == {"type": "integer", "minimum": 2000, "maximum": 6535}
    setpoint = schema("set_radiator_occupied_heating_setpoint")
    assert (setpoint["minimum"], setpoint["maximum"]) == (5, 30)
    assert schema("set_radiator_system_mode") == {"type": "string", "enum": ["off", "auto", "heat"]}
    assert home.tools["set_radiator_occupied_heating_setpoint"].units == {"temperature": "degC"}


@pytest.mark.parametrize(
    ("tool", "says", "answer"),
    [
        ("read_kitchen_lamp_state", {"state": "OFF"}, "kitchen lamp: off"),
        ("read_kitchen_lamp_color_temp", {"color_temp": 370}, "kitchen lamp, color temp: 2703 K"),
        ("read_heater_plug_power", {"power": 12.5}, "heater plug, power: 12.5 W"),
        ("read_porch_occupancy", {"occupancy": True}, "porch, occupancy: yes"),
        ("read_front_door_state", {"state": "LOCK"}, "front door: locked"),
    ],
)
def test_what_can_be_read_is_a_question(home: Config, tool: str, says: dict[str, Any], answer: str) -> None:
    config = home.tools[tool]
    assert config.state is not None
    assert config.binding == "query"
    state = state_reader(tool, config.state)(json.dumps(says).encode())
    assert query_template(tool, home.tools).render({"state": state, "states": {}}) == answer


def test_a_sensor_has_questions_alone(home: Config) -> None:
    assert {name for name in home.tools if "porch" in name} == {
        "read_porch_occupancy",
        "read_porch_temperature",
        "read_porch_illuminance",
    }


@pytest.mark.parametrize(
    ("name", "guarded"),
    [
        (name, True)
        for name in ("Türöffner", "Haustuer", "Türschloss", "Toröffner", "Gartentor", "frontdoor", "cerradura")
    ]
    + [(name, False) for name in ("motor", "monitor", "temperatur", "Stehlampe", "factor", "clock")],
)
def test_the_name_tells_what_lets_people_in(name: str, guarded: bool) -> None:
    relay = [{"type": "switch", "features": [binary("state", "ON", "OFF", 7)]}]
    (confirm_s,) = {
        tool.confirm_s for tool in offered({name: relay}, **{name: ZigbeeDeviceConfig()}).tools.values() if tool.acts
    }
    assert bool(confirm_s) == guarded


def test_locks_and_doors_ask_a_person_and_stopping_asks_nobody(home: Config) -> None:
    asking = {name for name, tool in home.tools.items() if tool.confirm_s}
    assert asking == {"set_garage_state", "set_front_door_state"}
    assert "set_garage_state_stop" in home.tools
    relay = [{"type": "switch", "features": [binary("state", "ON", "OFF", 7)]}]
    described = offered({"relay 1": relay}, **{"relay 1": ZigbeeDeviceConfig(words=("Garagentor",))})
    assert described.tools["set_relay_1_state"].confirm_s == 30.0
    outside = offered({"outdoor motor": relay}, **{"outdoor motor": ZigbeeDeviceConfig()})
    assert outside.tools["set_outdoor_motor_state"].confirm_s == 0.0


def test_the_station_file_changes_any_key_of_a_devices_tool() -> None:
    changes = {"set_garage_state": {"confirm_s": 0.0, "quiet_hours": ["22:00-06:00"]}}
    section = Zigbee2MqttConfig(devices={"garage": ZigbeeDeviceConfig()}, tools=changes)
    config, _ = with_devices(Config(zigbee2mqtt=section), read_listing(devices(), b""))
    tool = config.tools["set_garage_state"]
    assert (tool.confirm_s, tool.quiet_hours, tool.description) == (0.0, ("22:00-06:00",), "Open or close garage.")
    for wrong, problem in (
        ({"confirm_s": 999.0}, r"confirm_s` is longer than a command lives"),
        ({"publish": {"topic": "a", "payload": "{{ colour }}"}}, "colour is no argument"),
    ):
        section = Zigbee2MqttConfig(devices=section.devices, tools={"set_garage_state": wrong})
        with pytest.raises(ConfigError, match=problem):
            with_devices(Config(zigbee2mqtt=section), read_listing(devices(), b""))
    nobody = Zigbee2MqttConfig(devices=section.devices, tools={"set_garage_colour": {"confirm_s": 0.0}})
    with pytest.raises(ConfigError, match=r"`tools\.set_garage_colour` has no `description`"):
        with_devices(Config(zigbee2mqtt=nobody), read_listing(devices(), b""))


def test_a_group_can_do_what_all_its_members_can(home: Config) -> None:
    assert {name for name in home.tools if name.startswith("set_lamps")} == {
        "set_lamps_state",
        "set_lamps_brightness",
        "set_lamps_color_temp",
    }
    dim = [{"type": "light", "features": [binary("state", "ON", "OFF", 7), numeric("brightness", 7, value_max=100)]}]
    listing = read_listing(devices({"kitchen_lamp": EXPOSES["kitchen_lamp"], "hall/ceiling": dim}), groups())
    assert listing["lamps"].exposes == [], "their brightness has another range, their state another description"


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        ("turn on the kitchen lamp", "set_kitchen_lamp_state", {"state": "on"}),
        ("schalte die kitchen lamp aus", "set_kitchen_lamp_state", {"state": "off"}),
        ("allume la kitchen lamp", "set_kitchen_lamp_state", {"state": "on"}),
        ("apaga la kitchen lamp", "set_kitchen_lamp_state", {"state": "off"}),
        ("kitchen lamp to 40 percent", "set_kitchen_lamp_brightness", {"percent": 40}),
        ("stell die kitchen lamp auf vierzig Prozent", "set_kitchen_lamp_brightness", {"percent": 40}),
        ("règle la luminosité de kitchen lamp à 40 pour cent", "set_kitchen_lamp_brightness", {"percent": 40}),
        ("pon kitchen lamp al 40 por ciento", "set_kitchen_lamp_brightness", {"percent": 40}),
        ("set the kitchen lamp to 3000 kelvin", "set_kitchen_lamp_color_temp", {"kelvin": 3000}),
        ("make the kitchen lamp warm white", "set_kitchen_lamp_color_temp", {"kelvin": 2703}),
        ("open the blind", "set_blind_state", {"state": "open"}),
        ("Rollo schließen", "set_blind_state", {"state": "close"}),
        ("stop the garage", "set_garage_state_stop", {}),
        ("set the radiator to 70 degrees fahrenheit", "set_radiator_occupied_heating_setpoint", {"temperature": 21.1}),
        ("lock the front door", "set_front_door_state", {"state": "lock"}),
        ("déverrouille front door", "set_front_door_state", {"state": "unlock"}),
        ("turn on two gang left", "set_two_gang_state_left", {"state": "on"}),
        ("is the kitchen lamp on?", "read_kitchen_lamp_state", {}),
        ("what is the temperature of the porch?", "read_porch_temperature", {}),
        ("wie hoch ist die Leistung von heater plug?", "read_heater_plug_power", {}),
        ("is the front door locked?", "read_front_door_state", {}),
    ],
)
def test_what_people_say_is_understood_in_four_languages(
    phrases: Phrases, said: str, tool: str, arguments: dict[str, Any]
) -> None:
    found = phrases.call(said, "auto")
    assert found is not None
    assert (found.name, dict(found.arguments)) == (tool, arguments)


def test_a_strangers_words_are_bounded_and_run_no_template() -> None:
    """A property, a value or a label may be anything: what could be a template is left out."""
    evil = [
        binary("state", "{{ cycler }}", "OFF", 7),
        numeric("{{ x }}", 7),
        choice("mode", ["a", "{% for x in y %}"], 7),
        choice("import", ["slow", "fast"], 7, label="{state} [x] <y>" * 20),
        {"type": "text", "name": "inserted", "property": "inserted", "access": 7},
        {"type": "list", "access": "7"},
        numeric("offset", 2, value_min="5"),
    ]
    config = offered({"odd": evil}, odd=ZigbeeDeviceConfig())
    assert set(config.tools) == {"set_odd_import", "read_odd_import", "set_odd_offset"}
    tool = config.tools["set_odd_import"]
    assert list(tool.parameters["properties"]) == ["choice"]
    assert len(tool.description) < 150
    assert "{" not in tool.description
    assert told(tool, "set_odd_import", choice="slow") == {"import": "slow"}


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"\xff"])
def test_what_is_no_list_of_devices_is_told(payload: bytes) -> None:
    with pytest.raises(EdgeError, match="bridge/devices"):
        read_listing(payload, b"")


def test_what_was_kept_serves_those_who_ask_no_broker(tmp_path: Path) -> None:
    listing = {name: each for name, each in read_listing(devices(), groups()).items() if name == "blind"}
    section = Zigbee2MqttConfig(devices={"blind": ZigbeeDeviceConfig()})
    config = Config(zigbee2mqtt=section, folder=tmp_path)
    found, warnings = with_kept_devices(config)
    assert found.tools == {}
    assert "no start has kept them" in warnings[0]
    config.zigbee_path.write_bytes(to_file(listing, BASE))
    assert from_file(config.zigbee_path.read_bytes(), BASE) == listing
    found, warnings = with_kept_devices(config)
    assert "set_blind_position" in found.tools
    assert warnings == []
    config.zigbee_path.write_bytes(b'{"base_topic": "zigbee2mqtt"}')
    assert "is damaged" in with_kept_devices(config)[1][0]
