"""Home Assistant's own sentences, for what a tool declares, and no others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.config import CommandConfig
from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import HomeAssistantConfig, ToolConfig
from tests.edge.commands.phrases.line import book, decided, parameters

ROOM = {"enum": ["kitchen", "bedroom"]}
LIGHT = ToolConfig(
    "Turn a light on or off.",
    parameters(room=ROOM, state={"enum": ["on", "off"]}),
    words={"room": {"kitchen": ("Küche", "cuisine", "cocina"), "bedroom": ("Schlafzimmer",)}},
    home_assistant=(
        HomeAssistantConfig("HassTurnOn", {"area": "{room}", "domain": "light"}, {"state": "on"}),
        HomeAssistantConfig("HassTurnOff", {"area": "{room}", "domain": "light"}, {"state": "off"}),
    ),
)
DIM = ToolConfig(
    "Set the brightness.",
    parameters(room=ROOM, percent={"type": "integer", "minimum": 0, "maximum": 100}),
    home_assistant=(
        HomeAssistantConfig("HassLightSet", {"area": "{room}", "brightness": "{percent}", "domain": "light"}),
    ),
)
GARAGE = ToolConfig(
    "Open the garage.",
    home_assistant=(HomeAssistantConfig("HassTurnOn", {"domain": "cover", "device_class": "garage"}),),
)


def home(**tools: ToolConfig) -> PhraseBook:
    return book(tools, commands=CommandConfig(home_assistant=("en", "de", "fr", "es")))


@pytest.fixture(scope="module")
def phrases() -> PhraseBook:
    return home(light=LIGHT, dim=DIM, garage=GARAGE)


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("turn on the kitchen lights", "light", {"room": "kitchen", "state": "on"}),
        ("mach das Licht in der Küche aus", "light", {"room": "kitchen", "state": "off"}),
        ("allume la lumière de la cuisine", "light", {"room": "kitchen", "state": "on"}),
        ("apaga la luz de la cocina", "light", {"room": "kitchen", "state": "off"}),
        ("set the kitchen brightness to 40%", "dim", {"room": "kitchen", "percent": 40}),
        ("set the bedroom brightness to maximum", "dim", {"room": "bedroom", "percent": 100}),
        ("open the garage door", "garage", {}),
        ("öffne das Garagentor", "garage", {}),
    ],
)
def test_its_sentences_are_calls(phrases: PhraseBook, text: str, tool: str, arguments: dict[str, Any]) -> None:
    assert decided(phrases, text) == (tool, arguments)


@pytest.mark.parametrize(
    "text",
    ["turn on the fan in the kitchen", "open the curtains", "don't turn on the kitchen lights", "turn on lights"],
)
def test_others_are_not(phrases: PhraseBook, text: str) -> None:
    assert decided(phrases, text) is None


def test_a_number_out_of_range_is_refused(phrases: PhraseBook) -> None:
    assert decided(phrases, "set the kitchen brightness to 140%") == "out_of_range"


def test_a_phrase_of_the_station_goes_before(phrases: PhraseBook) -> None:
    assert decided(phrases, "turn on the kitchen lights") == ("light", {"room": "kitchen", "state": "on"})
    ours = ToolConfig("Start a scene.", phrases=("turn on the kitchen lights",))
    assert decided(home(light=LIGHT, scene=ours), "turn on the kitchen lights") == ("scene", {})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (HomeAssistantConfig("HassTurnUp"), "there is no intent HassTurnUp in 'en'; known: .*HassTurnOn"),
        (HomeAssistantConfig("HassTurnOn", {"area": "{place}"}), r"`slots.area`: \{place\} is no argument of light"),
        (HomeAssistantConfig("HassTurnOn", {"domain": "light"}), "no sentence of HassTurnOn in 'en' says all that"),
        (HomeAssistantConfig("HassTurnOn", {"area": "{room}", "domain": "boat"}), "no sentence of HassTurnOn"),
    ],
)
def test_a_mistake_names_the_entry(entry: HomeAssistantConfig, message: str) -> None:
    tool = dataclasses.replace(LIGHT, home_assistant=(entry,))
    with pytest.raises(ConfigError, match=rf"station\.toml: `tools\.light\.home_assistant\.0`: .*{message}"):
        home(light=tool)
