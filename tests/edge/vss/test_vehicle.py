"""Tools and phrases from a file of vehicle signals: those that are named, with their ranges, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError, RequestError
from lineside.edge.station_file import load_config
from tests.conftest import ROOT

CAR = ROOT / "deploy" / "stations" / "car"
LEAVES: dict[str, dict[str, Any]] = {
    "Speed": {"type": "sensor", "datatype": "float", "unit": "km/h", "description": "How fast."},
    "Roof.Position": {"type": "actuator", "datatype": "uint8", "unit": "percent", "max": 80, "description": "Roof."},
    "Heat.Level": {"type": "actuator", "datatype": "float", "unit": "celsius", "min": 16.0, "max": 28.0},
    "Wiper.Mode": {
        "type": "actuator",
        "datatype": "string",
        "allowed": ["OFF", "RAIN_SENSOR"],
        "description": "Wiper.",
    },
    "Wiper.Gain": {"type": "actuator", "datatype": "int8", "description": "Gain {{ 7 * 7 }}."},
    "Lamp.IsOn": {"type": "actuator", "datatype": "boolean", "description": "Lamp."},
    "Seats": {"type": "actuator", "datatype": "uint8[]", "description": "Seats."},
}
STATION = """
[vss]
file = "signals.json"
publish = "vehicle/set"
states = "vehicle"
"""


def signals_file(folder: Path) -> None:
    tree: dict[str, Any] = {"Vehicle": {"type": "branch", "children": {}}}
    for path, leaf in LEAVES.items():
        node = tree["Vehicle"]
        *branches, name = path.split(".")
        for branch in branches:
            node = node["children"].setdefault(branch, {"type": "branch", "children": {}})
        node["children"][name] = leaf
    (folder / "signals.json").write_text(json.dumps(tree), encoding="utf-8")


def load(folder: Path, text: str, station: str = STATION) -> Config:
    signals_file(folder)
    (folder / "station.toml").write_text(station + text, encoding="utf-8")
    return load_config(folder / "station.toml", {})


def test_actuators_are_tools_with_their_ranges_units_and_values(tmp_path: Path) -> None:
    tools = load(tmp_path, 'actuators = ["Roof.*", "Heat.Level", "Vehicle.Wiper.*", "Lamp.IsOn"]').tools
    values = {name: tool.parameters["properties"]["value"] for name, tool in tools.items()}
    assert values == {
        "set_Roof_Position": {"type": "integer", "minimum": 0, "maximum": 80},
        "set_Heat_Level": {"type": "number", "minimum": 16.0, "maximum": 28.0},
        "set_Wiper_Mode": {"enum": ["off", "rain sensor"]},
        "set_Wiper_Gain": {"type": "integer", "minimum": -128, "maximum": 127},
        "set_Lamp_IsOn": {"type": "boolean"},
    }
    assert tools["set_Roof_Position"].description == "Set: Roof in percent."
    assert (tools["set_Heat_Level"].units, tools["set_Heat_Level"].step) == ({"value": "degC"}, {"value": 1.0})


def test_sensors_are_questions(tmp_path: Path) -> None:
    tools = load(tmp_path, 'sensors = ["**", "Wiper.Gain"]').tools
    assert {name: (tool.query, tool.acts) for name, tool in tools.items()} == {
        "get_Speed": ("How fast: {{ state }} km/h.", False),
        "get_Wiper_Gain": ("Gain (( 7 * 7 )): {{ state }}.", False),
    }


def test_nothing_that_is_not_named_is_offered(tmp_path: Path) -> None:
    assert load(tmp_path, "").tools == {}
    assert list(load(tmp_path, 'actuators = ["*.IsOn"]').tools) == ["set_Lamp_IsOn"]
    assert "set_Seats" not in load(tmp_path, 'actuators = ["**"]').tools


def test_a_value_goes_out_and_comes_back_by_its_own_name(tmp_path: Path) -> None:
    from lineside.edge.calls.states import States
    from lineside.edge.counters import Counters
    from lineside.edge.tool_templates import payload_template
    from lineside.runtime.chat import ToolCall

    tools = load(tmp_path, 'actuators = ["Wiper.Mode"]').tools
    sent = payload_template("set_Wiper_Mode", tools["set_Wiper_Mode"])({"value": "rain sensor"})
    assert sent == {"value": "RAIN_SENSOR"}
    states = States(tools, Counters())
    states.take("vehicle/Wiper/Mode", b'{"value": "RAIN_SENSOR"}', retained=False)
    known = states.known("set_Wiper_Mode", {})
    assert known is not None
    assert known.value == "rain sensor"
    assert states.is_asked(ToolCall("", "set_Wiper_Mode", {"value": "rain sensor"}), known.value)


def test_what_the_station_file_says_goes_before_what_is_made(tmp_path: Path) -> None:
    own = '\nactuators = ["Roof.Position"]\n[tools.set_Roof_Position]\nsafety = "never"\nlimits.value.maximum = 50\n'
    tool = load(tmp_path, own).tools["set_Roof_Position"]
    assert (tool.safety, tool.limits, tool.description) == (
        "never",
        {"value": {"maximum": 50}},
        "Set: Roof in percent.",
    )


def test_a_signal_that_a_condition_names_needs_no_more(tmp_path: Path) -> None:
    own = (
        'actuators = ["Lamp.IsOn"]\n[safety]\nparked = "Vehicle.Speed == 0"\n[tools.set_Lamp_IsOn]\nsafety = "parked"\n'
    )
    config = load(tmp_path, own)
    assert config.safety.states["Vehicle.Speed"].topic == "vehicle/Speed"
    assert list(config.tools) == ["set_Lamp_IsOn"]


def test_with_a_databroker_signals_are_set_and_heard_there(tmp_path: Path) -> None:
    own = 'actuators = ["Wiper.Mode"]\nsensors = ["Speed"]\n[kuksa]\naddress = "127.0.0.1:55555"\n'
    tools = load(tmp_path, own, '[vss]\nfile = "signals.json"\n').tools
    mode, speed = tools["set_Wiper_Mode"], tools["get_Speed"]
    assert mode.kuksa is not None
    assert (mode.kuksa.signal, mode.binding, mode.publish) == ("Vehicle.Wiper.Mode", "kuksa", None)
    assert speed.state is not None
    assert speed.state.topic == "kuksa:Vehicle.Speed"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('actuators = ["Nothing"]', "`vss.actuators`: Nothing names no signal of the file that can be set"),
        ('actuators = ["Speed"]', "`vss.actuators`: Vehicle.Speed is no actuator"),
        ('actuators = ["Seats"]', "`vss.actuators`: Vehicle.Seats is of type uint8[]"),
        ('actuators = ["Roof Position"]', "`vss.actuators`, entry 1"),
        ('sensors = ["Nothing"]', "`vss.sensors`: Nothing names no signal of the file that can be asked for"),
        ("colour = 1", "unknown key `vss.colour`"),
        ('actuators = ["Lamp.IsOn"]\n[tools.set_Lamp_IsOn]\nwait = 1', "unknown key `tools.set_Lamp_IsOn.wait`"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert told in str(caught.value)
    assert "station.toml:" in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for content in ("[]", "{", '{"Vehicle": {"type": "branch"}}', '{"Vehicle": {}}', '{"A": {"type": "sensor"}}'):
        (tmp_path / "other.json").write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"vspec export json"):
            load(tmp_path, "", '[vss]\nfile = "other.json"\n')
    with pytest.raises(ConfigError, match=r"`vss.file`: .*missing.json cannot be read"):
        load(tmp_path, "", '[vss]\nfile = "missing.json"\n')
    with pytest.raises(ConfigError, match=r"`vss.file` is missing"):
        load(tmp_path, "", '[vss]\nactuators = ["a.b"]\n')


MORE = """
actuators = ["Cabin.HVAC.Station.Row1.Passenger.Temperature", "Cabin.Door.*.*.IsLocked", "Body.Hood.IsOpen",
    "Cabin.RearShade.Position", "Body.Windshield.Rear.Wiping.Mode", "ADAS.CruiseControl.SpeedSet"]
sensors = ["Chassis.Axle.Row1.Wheel.Left.Tire.Pressure", "Speed"]
"""
SAID: list[tuple[str, str, dict[str, Any]]] = [
    ("set the passenger temperature to 22 degrees", "set_Cabin_HVAC_Station_Row1_Passenger_Temperature", {"value": 22}),
    ("passenger temperature 72 degrees fahrenheit", "set_Cabin_HVAC_Station_Row1_Passenger_Temperature", {"value": 22}),
    (
        "Temperatur beim Beifahrer auf 72 Grad Fahrenheit",
        "set_Cabin_HVAC_Station_Row1_Passenger_Temperature",
        {"value": 22},
    ),
    (
        "mets la température côté passager à 21 degrés",
        "set_Cabin_HVAC_Station_Row1_Passenger_Temperature",
        {"value": 21},
    ),
    (
        "pon la temperatura del acompañante a 20 grados",
        "set_Cabin_HVAC_Station_Row1_Passenger_Temperature",
        {"value": 20},
    ),
    ("lock the passenger's door", "set_Cabin_Door_Row1_PassengerSide_IsLocked", {"value": True}),
    ("entriegle die Beifahrertür", "set_Cabin_Door_Row1_PassengerSide_IsLocked", {"value": False}),
    ("mach die Motorhaube auf", "set_Body_Hood_IsOpen", {"value": True}),
    ("close the rear window shade", "set_Cabin_RearShade_Position", {"value": 100}),
    ("Heckwischer auf schnell", "set_Body_Windshield_Rear_Wiping_Mode", {"value": "fast"}),
    ("set the cruise control speed to 60 miles per hour", "set_ADAS_CruiseControl_SpeedSet", {"value": 96.6}),
    ("wie schnell fahren wir?", "get_Speed", {}),
    ("what is the pressure of the tire at the front left?", "get_Chassis_Axle_Row1_Wheel_Left_Tire_Pressure", {}),
]


def vehicle(folder: Path, text: str = "") -> Config:
    (folder / "station.toml").write_text(
        f'{text}\n[vss]\nfile = "{CAR / "signals.json"}"\npublish = "vehicle/set"\nstates = "vehicle"\n{MORE}',
        encoding="utf-8",
    )
    return load_config(folder / "station.toml", {})


def test_signals_are_called_by_phrases_in_four_languages(tmp_path: Path) -> None:
    book = PhraseBook(vehicle(tmp_path))
    found = {text: book.call(text, "auto") for text, _, _ in SAID}
    assert {text: call and (call.name, dict(call.arguments)) for text, call in found.items()} == {
        text: (name, arguments) for text, name, arguments in SAID
    }
    with pytest.raises(RequestError, match="60 is above 28"):
        book.call("passenger temperature 60 degrees", "auto")


def test_a_station_calls_its_signals_what_it_likes_and_keeps_its_own_phrases(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text(
        'language = "en"\n[signals]\n"Body.Hood.IsOpen" = { noun = "lid", open = "let me see" }\n'
        '"Speed" = ["our pace"]\n"ADAS.**" = "autopilot speed"\n'
        '[phrases]\nset_Cabin_RearShade_Position = ["blind {value}"]\n',
        encoding="utf-8",
    )
    book = PhraseBook(vehicle(tmp_path, '[commands]\nphrase_files = ["en.toml"]'))
    hood = book.call("open the lid", "auto")
    assert hood is not None
    assert hood.name == "set_Body_Hood_IsOpen"
    assert book.call("open the hood", "auto") is None
    for text, name in (
        ("let me see", "set_Body_Hood_IsOpen"),
        ("our pace", "get_Speed"),
        ("autopilot speed to 90", "set_ADAS_CruiseControl_SpeedSet"),
    ):
        call = book.call(text, "auto")
        assert call is not None
        assert call.name == name
    assert book.call("how fast are we going?", "auto") is None
    assert book.call("close the rear window shade", "auto") is None
    assert book.call("blind 40", "auto") is not None
    assert book.call("Heckrollo zu", "auto") is not None


@pytest.mark.parametrize(
    ("signals", "told"),
    [
        ('"Roof.Positoin" = "top"', r":3: `signals.Roof.Positoin`: `\[vss\]` offers no such signal; .*Roof.Position.*"),
        ('"Roof.Positoin" = "top"', r"did you mean Roof.Position\?"),
        ('"Wiper.Mode" = "wiper"', r":3: `signals.Wiper.Mode`: `\[vss\]` offers no such signal; there is Roof"),
        (
            '"Roof.Position" = { nuon = "top" }',
            r":3: `signals.Roof.Position.nuon`: no sentence .*: did you mean noun\?",
        ),
        ('"Roof.Position" = ["the top"]', r":3: `signals.Roof.Position`: whole sentences are for a question"),
    ],
)
def test_what_nobody_would_hear_is_told(signals: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text(f'language = "en"\n[signals]\n{signals}\n', encoding="utf-8")
    own = 'actuators = ["Roof.Position", "Lamp.IsOn"]\n[commands]\nphrase_files = ["en.toml"]\n'
    with pytest.raises(ConfigError, match=rf"en\.toml{told}" if told[0] == ":" else told):
        PhraseBook(load(tmp_path, own))


def test_signals_of_a_language_that_the_station_does_not_speak(tmp_path: Path) -> None:
    (tmp_path / "fr.toml").write_text('language = "fr"\n[signals]\n"Lamp.IsOn" = "lampe"\n', encoding="utf-8")
    own = 'actuators = ["Lamp.IsOn"]\n{}[commands]\nphrase_files = ["fr.toml"]\n'
    with pytest.raises(ConfigError, match=r"fr.toml:2: `signals`: they are in fr, and `vss.languages` has en, de"):
        PhraseBook(load(tmp_path, own.format('languages = ["en", "de"]\n')))
    with pytest.raises(ConfigError, match=r"fr.toml:2: `signals`: the station offers none"):
        PhraseBook(load(tmp_path, '[commands]\nphrase_files = ["fr.toml"]\n', ""))
    assert PhraseBook(load(tmp_path, own.format(""))).call("allume la lampe", "auto") is not None


def test_the_file_of_the_station_is_what_its_source_says() -> None:
    """`vspec export json` is not here: the paths and ranges are compared."""
    text = (CAR / "signals.vspec").read_text(encoding="utf-8")
    from lineside.edge.vss.tree import read_signals

    signals = read_signals(CAR / "signals.json")
    blocks = [block for block in text.split("\n\n") if "type: actuator" in block or "type: sensor" in block]
    assert len(blocks) == len(signals) == 100
    for block in blocks:
        signal = signals[block.partition(":")[0]]
        assert f"description: {signal.description}." in block
        assert f"datatype: {signal.datatype}" in block
        assert (f"max: {signal.maximum}" in block) == (signal.maximum is not None)
