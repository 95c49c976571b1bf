"""Each check, with siblings in four languages: whatever model chose the call."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.doubt import Judge
from lineside.runtime.commands.heard import hear
from lineside.runtime.text.confidence import Confidence
from tests.runtime.commands.stations import INDEX, JUDGE, TOOLS, doubted


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("stop the line", "stop_line", {}),
        ("could you stop the line, please?", "stop_line", {}),
        ("Halt das Band an", "stop_line", {}),
        ("arrête la ligne, s'il te plaît", "stop_line", {}),
        ("¿podrías parar la línea?", "stop_line", {}),
        ("set the belt to half speed", "set_belt_speed", {"percent": 50}),
        ("Band auf fünfzig Prozent", "set_belt_speed", {"percent": 50}),
        ("le tapis à cinquante pour cent", "set_belt_speed", {"percent": 50}),
        ("la cinta al cincuenta por ciento", "set_belt_speed", {"percent": 50}),
        ("full speed for the belt", "set_belt_speed", {"percent": 100}),
        ("a quarter speed for the belt", "set_belt_speed", {"percent": 25}),
        ("heating to twenty one and a half degrees", "set_heating", {"temperature": 21.5}),
        ("Heizung auf einundzwanzigeinhalb Grad", "set_heating", {"temperature": 21.5}),
        ("le chauffage à vingt et un degrés et demi", "set_heating", {"temperature": 21.5}),
        ("heating to 72 degrees fahrenheit", "set_heating", {"temperature": 22.2}),
        ("turn the living room light off", "set_light", {"room": "living room", "state": "off"}),
        ("Mach das Licht in der Küche aus", "set_light", {"room": "kitchen", "state": "off"}),
        ("éteins la lumière de la cuisine", "set_light", {"room": "kitchen", "state": "off"}),
        ("apaga la luz de la cocina", "set_light", {"room": "kitchen", "state": "off"}),
        ("don't leave the bedroom light on", "set_light", {"room": "bedroom", "state": "off"}),
        ("lass das Licht in der Küche nicht an", "set_light", {"room": "kitchen", "state": "off"}),
        ("don't archive any more pictures", "archive_pictures", {"enabled": False}),
        ("stop archiving pictures", "archive_pictures", {"enabled": False}),
        ("do not start the pump", "halt_pump", {}),
        ("play Don't Stop Me Now", "play_music", {"artist": "Don't Stop Me Now"}),
        ("what is the temperature in the kitchen?", "get_temperature", {"room": "kitchen"}),
        ("all clear on the lamp", "set_lamp", {"color": "green"}),
        ("timer for half an hour", "start_timer", {"minutes": 30}),
        ("timer for 1 hour 30 minutes", "start_timer", {"minutes": 90}),
    ],
)
def test_a_call_that_was_asked_for_is_made(text: str, name: str, arguments: dict[str, Any]) -> None:
    assert doubted(text, name, **arguments) == ""


@pytest.mark.parametrize(
    ("code", "text", "name", "arguments"),
    [
        ("negated", "do not stop the line", "stop_line", {}),
        ("negated", "Halt das Band nicht an", "stop_line", {}),
        ("negated", "n'arrête pas la ligne", "stop_line", {}),
        ("negated", "no pares la línea", "stop_line", {}),
        ("negated", "don't forget to stop the line", "stop_line", {}),
        ("negated", "don't turn on the kitchen light", "set_light", {"room": "kitchen", "state": "on"}),
        ("negated", "don't turn on the kitchen light", "set_light", {"room": "kitchen", "state": "off"}),
        ("negated", "don't turn off the kitchen light", "set_light", {"room": "kitchen", "state": "off"}),
        ("negated", "not the kitchen light off but the bedroom", "set_light", {"room": "bedroom", "state": "off"}),
        ("negated", "don't leave the bedroom light on", "set_light", {"room": "bedroom", "state": "on"}),
        ("negated", "do not stop the pump", "halt_pump", {}),
        ("negated", "don't play Queen", "play_music", {"artist": "Queen"}),
        ("negated", "don't play Queen", "play_music", {"artist": "don't play Queen"}),
        ("question", "why don't you stop the line?", "stop_line", {}),
        ("question", "is the garage open?", "open_garage", {}),
        ("question", "Ist die Garage offen?", "open_garage", {}),
        ("question", "est-ce que le garage est ouvert", "open_garage", {}),
        ("question", "¿está abierto el garaje?", "open_garage", {}),
        ("question", "how fast is the belt?", "set_belt_speed", {"percent": 100}),
        ("contradiction", "start the line", "stop_line", {}),
        ("contradiction", "starte das Band", "stop_line", {}),
        ("contradiction", "démarre la ligne", "stop_line", {}),
        ("contradiction", "arranca la línea", "stop_line", {}),
        ("contradiction", "close the garage", "open_garage", {}),
        ("contradiction", "play some music", "stop_line", {}),
        ("above", "set the belt to 150 percent", "set_belt_speed", {"percent": 15}),
        ("above", "Band auf hundertfünfzig Prozent", "set_belt_speed", {"percent": 15}),
        ("above", "le tapis à cent cinquante pour cent", "set_belt_speed", {"percent": 15}),
        ("above", "la cinta al ciento cincuenta por ciento", "set_belt_speed", {"percent": 15}),
        ("below", "set the belt to -5 percent", "set_belt_speed", {"percent": 5}),
        ("not_said", "set the belt to 2.5 percent", "set_belt_speed", {"percent": 25}),
        ("not_said", "set the belt to 22 degrees", "set_belt_speed", {"percent": 22}),
        ("not_said", "make the belt faster", "set_belt_speed", {"percent": 80}),
        ("not_said", "play some music", "play_music", {"artist": "Queen"}),
        ("not_said", "keep the pictures dry", "archive_pictures", {"enabled": False}),
        ("not_among", "lights off in the bathroom", "set_light", {"room": "bedroom", "state": "off"}),
        ("not_among", "Licht aus im Bad", "set_light", {"room": "bedroom", "state": "off"}),
        ("not_among", "set the lamp to blue", "set_lamp", {"color": "off"}),
        ("left_out", "kitchen and bedroom light off", "set_light", {"room": "kitchen", "state": "off"}),
        ("left_out", "set the belt to 30 percent in 10 minutes", "set_belt_speed", {"percent": 30}),
        ("unknown_key", "stop the line", "stop_line", {"now": True}),
    ],
)
def test_a_call_that_was_not_asked_for_is_refused(code: str, text: str, name: str, arguments: dict[str, Any]) -> None:
    assert doubted(text, name, **arguments) == code


def test_the_refusal_is_in_the_language_of_the_command() -> None:
    heard = hear("Band auf hundertfünfzig Prozent")
    doubt = JUDGE.doubt(heard, [ToolCall("1", "set_belt_speed", {"percent": 15})], INDEX.rank(heard))
    assert doubt is not None
    assert doubt.message == "150 ist über 100 (percent): Es wurde nichts getan."


def test_what_a_tool_gave_back_counts_as_said() -> None:
    text = "set the heating as it was yesterday"
    assert doubted(text, "set_heating", temperature=19.5) == "not_said"
    assert doubted(text, "set_heating", ('{"outcome": "achieved", "result": 19.5}',), temperature=19.5) == ""


def test_a_word_for_a_number_takes_it_up() -> None:
    words = {"percent": {"40": ("half speed",)}}
    tools = {one.name: dataclasses.replace(one, words=words) for one in TOOLS if one.name == "set_belt_speed"}
    assert doubted("set the belt to half speed", "set_belt_speed", judge=Judge(tools), percent=40) == ""


def test_a_default_need_not_be_said() -> None:
    belt = next(declared for declared in TOOLS if declared.name == "set_belt_speed")
    percent = {"type": "integer", "minimum": 0, "maximum": 100, "default": 40}
    parameters = {**belt.tool.parameters, "properties": {"percent": percent}}
    judge = Judge({belt.name: dataclasses.replace(belt, tool=dataclasses.replace(belt.tool, parameters=parameters))})
    assert doubted("run the belt at its usual speed", belt.name, judge=judge, percent=40) == ""
    assert doubted("run the belt at its usual speed", belt.name, judge=judge, percent=41) == "not_said"


@pytest.mark.parametrize(
    ("check", "text", "name", "arguments"),
    [
        ("negation", "do not set the belt to 50 percent", "set_belt_speed", {"percent": 50}),
        ("question", "is the belt at 50 percent?", "set_belt_speed", {"percent": 50}),
        ("values", "set the belt speed", "set_belt_speed", {"percent": 50}),
        ("words", "start the line", "stop_line", {}),
    ],
)
def test_a_check_can_be_left_out_for_a_tool(check: str, text: str, name: str, arguments: dict[str, Any]) -> None:
    assert doubted(text, name, **arguments) != ""
    tools = {one.name: dataclasses.replace(one, unchecked=frozenset({check})) for one in TOOLS}
    assert doubted(text, name, judge=Judge(tools), **arguments) == ""


@pytest.mark.parametrize(("arguments", "code"), [(0.99, ""), (0.3, "unsure")])
def test_a_model_that_is_not_sure_does_not_act(arguments: float, code: str) -> None:
    heard = hear("set the belt to 50 percent")
    call, sure = ToolCall("1", "set_belt_speed", {"percent": 50}), Confidence(1.0, 0.99, arguments, arguments)
    doubt = JUDGE.doubt(heard, [call], INDEX.rank(heard), [sure])
    assert (doubt.code if doubt else "") == code
