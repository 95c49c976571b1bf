"""What no sentence may lead to, for sentences that nobody thought of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.runtime.commands.language import recognise
from lineside.runtime.commands.numbers import quantities
from tests.runtime.commands.stations import doubted

Command = tuple[str, str, dict[str, Any]]
KITCHEN_OFF = {"room": "kitchen", "state": "off"}
COMMANDS: list[Command] = [
    ("stop the line", "stop_line", {}),
    ("open the garage", "open_garage", {}),
    ("set the belt to 50 percent", "set_belt_speed", {"percent": 50}),
    ("turn the kitchen light off", "set_light", KITCHEN_OFF),
    ("start the pump", "start_pump", {}),
    ("play Queen", "play_music", {"artist": "Queen"}),
]
DENIALS = ["do not", "don't", "never", "please don't", "you must not", "Do NOT", "hey, don’t ever", "it's no good to"]
OTHERS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("Halt das Band an", "Halt das Band {} an", "stop_line", {}),
    ("Mach das Licht in der Küche aus", "Mach das Licht in der Küche {} aus", "set_light", KITCHEN_OFF),
    ("éteins la lumière de la cuisine", "n'éteins {} la lumière de la cuisine", "set_light", KITCHEN_OFF),
    ("apaga la luz de la cocina", "{} apaga la luz de la cocina", "set_light", KITCHEN_OFF),
]
WORDS = {"de": ["nicht", "bitte nie", "niemals", "auf keinen Fall"], "fr": ["pas", "jamais"], "es": ["no", "nunca"]}
NUMBER = st.integers(-300, 300) | st.floats(-300, 300, allow_nan=False).map(lambda value: round(value, 2))


@given(said=NUMBER, percent=st.integers(0, 100))
def test_a_number_that_was_not_said_is_never_let_through(said: float, percent: int) -> None:
    code = doubted(f"set the belt to {said:g} percent", "set_belt_speed", percent=percent)
    assert (code == "") is (float(f"{said:g}") == percent)


@given(said=st.integers(0, 100), percent=st.integers(0, 100))
@pytest.mark.parametrize("sentence", ["Band auf {} Prozent", "le tapis à {} %", "la cinta al {} por ciento"])
def test_nor_in_other_languages(sentence: str, said: int, percent: int) -> None:
    code = doubted(sentence.format(said), "set_belt_speed", percent=percent)
    assert (code == "") is (said == percent)


@given(denial=st.sampled_from(DENIALS), command=st.sampled_from(COMMANDS))
def test_a_denied_command_is_never_carried_out(denial: str, command: Command) -> None:
    text, name, arguments = command
    assert doubted(text, name, **arguments) == ""
    assert doubted(f"{denial} {text}", name, **arguments) == "negated"


@pytest.mark.parametrize(("text", "denied", "name", "arguments"), OTHERS)
def test_nor_one_in_another_language(text: str, denied: str, name: str, arguments: dict[str, Any]) -> None:
    assert doubted(text, name, **arguments) == ""
    for word in WORDS[recognise(text).code]:
        assert doubted(denied.format(word), name, **arguments) == "negated"


@given(text=st.text(max_size=60))
def test_any_text_is_heard(text: str) -> None:
    quantities(text)
    assert doubted(text, "set_belt_speed", percent=37) != "" or "37" in text or "siete" in text


@given(artist=st.text(alphabet="abcdefghijklmnop", min_size=3, max_size=12))
def test_a_text_that_was_not_said_is_never_let_through(artist: str) -> None:
    assert doubted("play music by queen", "play_music", artist=f"{artist} q") == "not_said"
