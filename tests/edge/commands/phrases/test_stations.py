"""The stations that come with Lineside: what people say to them in four languages, by phrases alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.station_file import load_config
from tests.conftest import ROOT
from tests.edge.commands.phrases.line import decided

STATIONS = ROOT / "deploy" / "stations"
VALUE = "value"
SAID: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "ballscrew": [
        ("emergency stop!", "stop_line", {}),
        ("Halt das Band an", "stop_line", {}),
        ("arrête la ligne, s'il te plaît", "stop_line", {}),
        ("para la cinta ahora", "stop_line", {}),
        ("belt to half speed", "set_belt_speed", {"percent": 50}),
        ("Band auf fünfzig Prozent", "set_belt_speed", {"percent": 50}),
        ("mets le tapis à quatre-vingts pour cent", "set_belt_speed", {"percent": 80}),
        ("baja la velocidad de la cinta al 20 %", "set_belt_speed", {"percent": 20}),
        ("make the lamp red", "set_lamp", {"color": "red"}),
        ("Signallampe auf Gelb", "set_lamp", {"color": "yellow"}),
        ("éteins le voyant", "set_lamp", {"color": "off"}),
        ("pon la lámpara en verde", "set_lamp", {"color": "green"}),
    ],
    "home": [
        ("kitchen light off", "set_light", {"room": "kitchen", "state": "off"}),
        ("Kannst du das Wohnzimmerlicht ausschalten?", "set_light", {"room": "living room", "state": "off"}),
        ("allume la lumière du salon", "set_light", {"room": "living room", "state": "on"}),
        ("apaga la luz del dormitorio", "set_light", {"room": "bedroom", "state": "off"}),
        ("don't leave the bedroom light on", "set_light", {"room": "bedroom", "state": "off"}),
        ("dim the living room to 20 percent", "set_brightness", {"room": "living room", "percent": 20}),
        ("Licht im Schlafzimmer auf dreißig Prozent", "set_brightness", {"room": "bedroom", "percent": 30}),
        ("heating to twenty one and a half degrees", "set_heating", {"temperature": 21.5}),
        ("sube la calefacción a veintidós grados y medio", "set_heating", {"temperature": 22.5}),
        ("mets le chauffage sur vingt et un degrés", "set_heating", {"temperature": 21}),
        ("68 degrees fahrenheit", "set_heating", {"temperature": 20}),
        ("mach das Garagentor auf", "open_garage", {}),
        ("spiel Musik von Rammstein", "play_music", {"artist": "Rammstein"}),
        ("Schalten Sie bitte das Licht im Schlafzimmer ein", "set_light", {"room": "bedroom", "state": "on"}),
        ("Bitte stellen Sie die Heizung auf 20 Grad ein", "set_heating", {"temperature": 20}),
        ("I'd like the bedroom light on", "set_light", {"room": "bedroom", "state": "on"}),
        ("would you mind turning off the bedroom light?", "set_light", {"room": "bedroom", "state": "off"}),
        ("would you mind opening the garage?", "open_garage", {}),
        ("tu voudrais bien éteindre la lumière du salon ?", "set_light", {"room": "living room", "state": "off"}),
        ("allume-moi la lumière du salon", "set_light", {"room": "living room", "state": "on"}),
        ("¿me enciendes la luz del salón?", "set_light", {"room": "living room", "state": "on"}),
        ("ponme la calefacción a 19 grados", "set_heating", {"temperature": 19}),
        ("mach die Garage wieder auf", "open_garage", {}),
        ("vuelve a abrir el garaje", "open_garage", {}),
        ("play some nirvana", "play_music", {"artist": "nirvana"}),
        ("spiel mir etwas Mozart", "play_music", {"artist": "Mozart"}),
        ("joue un peu de Mozart", "play_music", {"artist": "Mozart"}),
        ("pon algo de Mozart", "play_music", {"artist": "Mozart"}),
    ],
    "car": [
        ("volume to 30", "set_Cabin_Infotainment_Media_Volume", {VALUE: 30}),
        ("make it 22 degrees", "set_Cabin_HVAC_Station_Row1_Driver_Temperature", {VALUE: 22}),
        ("72 degrees fahrenheit please", "set_Cabin_HVAC_Station_Row1_Driver_Temperature", {VALUE: 22}),
        ("Sitzheizung aus", "set_Cabin_Seat_Row1_DriverSide_Heating", {VALUE: 0}),
        ("wipers slow", "set_Body_Windshield_Front_Wiping_Mode", {VALUE: "slow"}),
        ("ouvre le coffre", "set_Body_Trunk_Rear_IsOpen", {VALUE: True}),
        ("enciende las luces de cruce", "set_Body_Lights_Beam_Low_IsOn", {VALUE: True}),
        ("mach das Fenster halb auf", "set_Cabin_Door_Row1_DriverSide_Window_Position", {VALUE: 50}),
        ("mets la clim", "set_Cabin_HVAC_IsAirConditioningActive", {VALUE: True}),
        ("roll the window on my side all the way up", "set_Cabin_Door_Row1_DriverSide_Window_Position", {VALUE: 0}),
        ("mach das Fenster auf meiner Seite ganz zu", "set_Cabin_Door_Row1_DriverSide_Window_Position", {VALUE: 0}),
        ("ouvre complètement la vitre de mon côté", "set_Cabin_Door_Row1_DriverSide_Window_Position", {VALUE: 100}),
        ("bájame la ventanilla de mi lado del todo", "set_Cabin_Door_Row1_DriverSide_Window_Position", {VALUE: 100}),
        ("Öffnen Sie das Schiebedach zur Hälfte", "set_Cabin_Sunroof_Position", {VALUE: 50}),
        ("párame el ventilador", "set_Cabin_HVAC_Station_Row1_Driver_FanSpeed", {VALUE: 0}),
        ("pon el ventilador al máximo", "set_Cabin_HVAC_Station_Row1_Driver_FanSpeed", {VALUE: 100}),
    ],
}
NOT_DONE: dict[str, list[tuple[str, str | None]]] = {
    "ballscrew": [
        ("do not stop the line", None),
        ("stopp das Band nicht", None),
        ("n'arrête pas la ligne", None),
        ("no pares la línea", None),
        ("how fast is the belt?", None),
        ("turn the belt down 10 percent", None),
        ("start the line", "nothing_fits"),
        ("set the belt to 150 percent", "out_of_range"),
        ("mach die Lampe blau", "unknown_value"),
    ],
    "home": [
        ("don't turn on the kitchen light", None),
        ("is the garage open?", None),
        ("turn off the kitchen and the bedroom light", None),
        ("reduce the brightness in the kitchen 10 percent", None),
        ("lights off in the bathroom", "unknown_value"),
        ("éteins la lumière de la salle de bain", "unknown_value"),
        ("Heizung auf 45 Grad", "out_of_range"),
        ("close the garage", "nothing_fits"),
        ("play some music", "nothing_fits"),
        ("mach die Garage wieder zu", "nothing_fits"),
        ("referme le garage", "nothing_fits"),
        ("vuelve a cerrar el garaje", "nothing_fits"),
        ("play the song angie", None),
        ("Garagenlicht an", None),
        ("would you mind not opening the garage?", None),
        ("¿no me abres el garaje?", None),
        ("machen Sie das Licht im Schlafzimmer nicht an", None),
    ],
    "car": [
        ("open the window on the passenger side", None),
        ("Sitzheizung auf der Beifahrerseite auf 40 Prozent", None),
        ("make it 40 degrees", "out_of_range"),
        ("don't open the trunk while we drive", None),
        ("is the low beam on?", None),
        ("lower the volume ten percent", None),
        ("Lautstärke 10 Prozent runter", None),
        ("wipers turbo", "unknown_value"),
        ("turn on the high beam", "nothing_fits"),
    ],
}


@pytest.fixture(scope="module", params=sorted(SAID))
def station(request: pytest.FixtureRequest) -> tuple[str, PhraseBook]:
    path: Path = STATIONS / request.param / "station.toml"
    return request.param, PhraseBook(load_config(path, {}))


def test_what_is_said_is_done(station: tuple[str, PhraseBook]) -> None:
    name, phrases = station
    assert {text: decided(phrases, text) for text, _, _ in SAID[name]} == {
        text: (tool, arguments) for text, tool, arguments in SAID[name]
    }


def test_what_is_not_said_is_not_done(station: tuple[str, PhraseBook]) -> None:
    name, phrases = station
    assert {text: decided(phrases, text) for text, _ in NOT_DONE[name]} == dict(NOT_DONE[name])
