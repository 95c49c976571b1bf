"""Questions to the home station are known by phrase, in four languages, and lead to queries alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.commands.phrases.phrasing import Phrases, phrases_of
from lineside.edge.commands.rehearsal import Rehearsal
from lineside.edge.config import Config
from lineside.edge.station_file import load_config

HOME = Path(__file__).parents[3] / "deploy/stations/home/station.toml"


@pytest.fixture(scope="module")
def home() -> Config:
    return load_config(HOME, {})


@pytest.fixture(scope="module")
def phrases(home: Config) -> Phrases:
    return phrases_of(home)


@pytest.mark.parametrize(
    ("text", "tool", "room"),
    [
        ("Is the kitchen light on?", "is_light_on", "kitchen"),
        ("is the light on in the living room", "is_light_on", "living room"),
        ("Ist das Licht im Schlafzimmer an?", "is_light_on", "bedroom"),
        ("La lumière de la cuisine est-elle allumée ?", "is_light_on", "kitchen"),
        ("¿Está apagada la luz del salón?", "is_light_on", "living room"),
        ("What is the temperature?", "read_temperature", ""),
        ("Wie warm ist es?", "read_temperature", ""),
        ("Quelle est la température ?", "read_temperature", ""),
        ("¿Qué temperatura hace?", "read_temperature", ""),
    ],
)
def test_a_question_is_a_query(text: str, tool: str, room: str, phrases: Phrases, home: Config) -> None:
    call = phrases.call(text, "auto")
    assert call is not None
    assert (call.name, call.arguments) == (tool, {"room": room} if room else {})
    assert not home.tools[call.name].acts


@pytest.mark.parametrize("text", ["turn the kitchen light on", "heating to 21 degrees", "bedroom light to 40 percent"])
def test_a_command_still_acts(text: str, phrases: Phrases, home: Config) -> None:
    call = phrases.call(text, "auto")
    assert call is not None
    assert home.tools[call.name].acts


def test_a_rehearsal_tells_what_a_question_and_a_reference_are(home: Config) -> None:
    """No model is needed for either."""
    rehearsal = Rehearsal(home, None)
    question, reference = rehearsal.tell("Is the kitchen light on?"), rehearsal.tell("Stop that!")
    assert (question.by, list(question.carried_out)) == ("phrase", ["is_light_on"])
    assert (reference.by, reference.code, reference.carried_out) == ("conversation", "no_conversation", {})
