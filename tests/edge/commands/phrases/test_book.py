"""A sentence is a call, a refusal, or nothing; never a guess."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.errors import RequestError
from lineside.edge.tool_config import ToolConfig
from tests.edge.commands.phrases.line import PERCENT, TOOLS, book, decided, parameters


@pytest.fixture(scope="module")
def phrases() -> PhraseBook:
    return book()


STOP: tuple[str, dict[str, Any]] = ("stop_line", {})


def speed(percent: int) -> tuple[str, dict[str, Any]]:
    return "set_belt_speed", {"percent": percent}


def light(room: str, on: bool) -> tuple[str, dict[str, Any]]:
    return "set_light", {"room": room, "on": on}


def heating(celsius: float) -> tuple[str, dict[str, Any]]:
    return "set_heating", {"celsius": celsius}


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("STOP THE LINE!!", STOP),
        ("please stop the line now", STOP),
        ("Could you stop the line, please?", STOP),
        ("Könntest du bitte das Band anhalten?", STOP),
        ("das Band bitte anhalten", STOP),
        ("set the belt to 50", speed(50)),
        ("set belt speed to 50%", speed(50)),
        ("set the belt to half speed", speed(50)),
        ("set the belt to fifty-five percent", speed(55)),
        ("Band auf fünfzig Prozent", speed(50)),
        ("band auf fuenfzig prozent", speed(50)),
        ("tapis à soixante-dix pour cent", speed(70)),
        ("cinta al treinta y cinco por ciento", speed(35)),
        ("turn the living-room light off", light("living room", False)),
        ("lights on in the kitchen", light("kitchen", True)),
        ("Licht in der Kueche aus", light("kitchen", False)),
        ("heating to twenty one and a half degrees", heating(21.5)),
        ("heating to 21 and a half", heating(21.5)),
        ("heating to 21.5", heating(21.5)),
        ("Heizung auf 21,5 Grad", heating(21.5)),
        ("Heizung auf einundzwanzig Komma fünf Grad", heating(21.5)),
        ("heating to 72 fahrenheit", heating(22.2)),
        ("play Simon & Garfunkel", ("play_music", {"artist": "Simon & Garfunkel"})),
        ("play something by Beyoncé please", ("play_music", {"artist": "Beyoncé"})),
        ("how fast is the belt?", ("how_fast", {})),
        ("is it fast?", ("how_fast", {})),
    ],
)
def test_a_phrase_is_a_call(phrases: PhraseBook, text: str, call: object) -> None:
    assert decided(phrases, text) == call


@pytest.mark.parametrize(
    "text",
    [
        "do not stop the line",
        "don't stop the line",
        "never stop the line",
        "can you not stop the line?",
        "stop the line?",
        "stop the line and set the belt to 50",
        "stop the line at noon",
        "the line",
        "set the belt to",
        "set the belt to fifty fifty",
        "set the belt to 50-60 percent",
        "set the belt to 1.2.3 percent",
        "set the belt to +10",
        "set the belt to <50",
        "play Queen and stop the line",
        "play Queen. Stop the line",
        "x" * 1000,
        "?",
        "",
    ],
)
def test_what_is_no_phrase_is_left_to_the_model(phrases: PhraseBook, text: str) -> None:
    assert decided(phrases, text) is None


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("set the belt to 150 percent", "out_of_range", "150 is above 100"),
        ("set the belt to one hundred and fifty percent", "out_of_range", "150 is above 100"),
        ("tapis à cent cinquante pour cent", "out_of_range", "150 dépasse 100"),
        ("set the belt to -5", "out_of_range", "-5 is below 0"),
        ("Band auf minus fünf Prozent", "out_of_range", "-5 ist unter 0"),
        ("set the belt to 1,000 percent", "out_of_range", "1000 is above 100"),
        ("set the belt to 9999999 percent", "out_of_range", "9999999 is above 100"),
        ("set the belt to 2.5", "out_of_range", "2.5 is no whole number"),
        ("set the belt to .5", "out_of_range", "0.5 is no whole number"),
        ("set the belt to 90", "over_limit", "90 is above 80"),
        ("full speed", "over_limit", "100 is above 80"),
        ("heating to 104 fahrenheit", "out_of_range", "40 is above 30"),
        ("lights off in the bathroom", "unknown_value", "There is no bathroom: kitchen, living room"),
    ],
)
def test_what_may_not_be_is_refused(phrases: PhraseBook, text: str, code: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        phrases.match(text)
    assert refused.value.code == code


def test_a_sentence_of_two_calls_is_refused_with_both() -> None:
    """Told at the start only where the templates themselves are alike."""
    tools = {
        "fan": ToolConfig("", PERCENT, phrases=("set [the] (fan|air) to {percent}",)),
        "heat": ToolConfig(
            "",
            parameters(level={"type": "string"}),
            phrases=("set [the] air to {level}",),
            words={},
        ),
        "vent": ToolConfig("", parameters(degree={"enum": ["20", "30"]}), phrases=("set air to {degree}",)),
    }
    with pytest.raises(
        RequestError, match=r"could be fan \(percent 20.*\) or vent \(degree 20\). Say which"
    ) as refused:
        book(tools).match("set air to 20")
    assert refused.value.code == "ambiguous"


def test_a_requester_who_wants_a_text_or_another_tool_gets_no_phrase(phrases: PhraseBook) -> None:
    assert phrases.call("stop the line", "none") is None
    assert phrases.call("stop the line", "set_light") is None
    for choice in ("auto", "required", "stop_line"):
        call = phrases.call("stop the line", choice)
        assert call is not None
        assert call.name == "stop_line"


def test_the_first_sentence_takes_as_long_as_any_other() -> None:
    """Number words, patterns and lists are made at the start, not at the first command."""
    phrases = book(TOOLS | {"lift": ToolConfig("", PERCENT, phrases=("hebe den Kran auf {percent} Prozent",))})
    took = []
    for _ in range(3):
        started = time.thread_time()
        assert decided(phrases, "hebe den Kran auf siebenundachtzig Prozent") == ("lift", {"percent": 87})
        took.append(time.thread_time() - started)
    assert took[0] < 0.02, took
