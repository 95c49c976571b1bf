"""Opposites, places, compounds and bare numbers, in four languages: what a call is not meant by."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.doubt import Judge
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.retrieval import ToolIndex
from lineside.runtime.commands.subjects import about_another
from tests.runtime.commands.stations import PERCENT, TOOLS, tool

FEW = {"type": "integer", "minimum": 1, "maximum": 6}
MORE_TOOLS = (
    *TOOLS,
    Declared(tool("set_driver_seat_heating", "Set the heating of the driver's seat in percent.", percent=PERCENT)),
    Declared(tool("set_front_window", "Open the front window to a percentage.", percent=PERCENT)),
    Declared(tool("lock_gate", "Lock the gate.")),
    Declared(tool("raise_blind", "Raise the blind.")),
    Declared(tool("score_meal", "Give a meal a score.", points=FEW)),
    Declared(tool("open_trunk", "Open the trunk.")),
)
JUDGE, INDEX = Judge({one.name: one for one in MORE_TOOLS}), ToolIndex(MORE_TOOLS)
SEAT, WINDOW = "set_driver_seat_heating", "set_front_window"


def doubted(text: str, name: str, **arguments: Any) -> str:
    heard = hear(text)
    doubt = JUDGE.doubt(heard, [ToolCall("1", name, arguments)], INDEX.rank(heard))
    return doubt.code if doubt else ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shut the garage door again", "open_garage"),
        ("lock the garage door", "open_garage"),
        ("mach das Garagentor wieder zu", "open_garage"),
        ("mach das Garagentor zu und geh schlafen", "open_garage"),
        ("das Garagentor bitte absperren", "open_garage"),
        ("refermez la porte du garage", "open_garage"),
        ("tu peux refermer le garage", "open_garage"),
        ("vuelve a cerrar la puerta del garaje", "open_garage"),
        ("ciérrame el garaje", "open_garage"),
        ("relance la pompe", "halt_pump"),
        ("vuelve a arrancar la bomba", "halt_pump"),
        ("interromps la pompe", "start_pump"),
        ("unterbrich die Pumpe", "start_pump"),
        ("redescends le store, baisse-le", "raise_blind"),
        ("fahr das Rollo runter", "raise_blind"),
        ("baja la persiana", "raise_blind"),
        ("unlock the gate", "lock_gate"),
        ("déverrouillez le portail", "lock_gate"),
    ],
)
def test_a_word_for_the_opposite_refuses(text: str, name: str) -> None:
    assert doubted(text, name) == "contradiction"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("open the garage door again", "open_garage"),
        ("mach das Garagentor wieder auf", "open_garage"),
        ("rouvre le garage", "open_garage"),
        ("vuelve a abrir el garaje", "open_garage"),
        ("ábreme el garaje", "open_garage"),
        ("lève le store", "raise_blind"),
    ],
)
def test_a_word_for_the_same_does_not(text: str, name: str) -> None:
    assert doubted(text, name) == ""


@pytest.mark.parametrize(
    ("text", "name", "percent"),
    [
        ("heat the passenger's seat at 40 percent", SEAT, 40),
        ("Sitzheizung vom Beifahrer auf 40 Prozent", SEAT, 40),
        ("chauffage du siège passager à 40 pour cent", SEAT, 40),
        ("calefacción del asiento del copiloto al 40 por ciento", SEAT, 40),
        ("open the rear window to 20 percent", WINDOW, 20),
        ("das hintere Fenster auf 20 Prozent öffnen", WINDOW, 20),
        ("ouvre la fenêtre arrière à 20 pour cent", WINDOW, 20),
        ("abre la ventana trasera al 20 por ciento", WINDOW, 20),
    ],
)
def test_another_place_is_refused(text: str, name: str, percent: int) -> None:
    assert doubted(text, name, percent=percent) == "unknown_value"


@pytest.mark.parametrize(
    ("text", "name", "percent"),
    [
        ("heat the driver's seat at 40 percent right now", SEAT, 40),
        ("turn the seat heating back on at 40 percent", SEAT, 40),
        ("Sitzheizung auf 40 Prozent", SEAT, 40),
        ("ouvre la fenêtre avant à 20 pour cent", WINDOW, 20),
        ("abre la ventana delantera al 20 por ciento", WINDOW, 20),
    ],
)
def test_the_same_place_or_none_is_not(text: str, name: str, percent: int) -> None:
    assert doubted(text, name, percent=percent) == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Garagenlicht auf", "open_garage"),
        ("mach mal das Garagenlicht an", "open_garage"),
        ("das Licht in der Garage an", "open_garage"),
        ("garage light on", "open_garage"),
        ("the lamp in the garage on", "open_garage"),
        ("allume la lumière du garage", "open_garage"),
        ("enciende la luz del garaje", "open_garage"),
        ("Kofferraumlicht an", "open_trunk"),
    ],
)
def test_a_thing_is_what_the_last_part_of_its_name_says(text: str, name: str) -> None:
    assert doubted(text, name) == "contradiction"
    assert INDEX.rank(hear(text)).best != name


@pytest.mark.parametrize("text", ["Garagentor auf", "mach die Garage auf", "open the garage door", "öffne die Garage"])
def test_a_garage_is_opened_by_its_door(text: str) -> None:
    assert doubted(text, "open_garage") == ""


def test_a_kitchen_window_is_no_kitchen_light() -> None:
    assert doubted("Küchenfenster auf", "set_light", room="kitchen", state="on") == "contradiction"
    assert doubted("Küchenlicht an", "set_light", room="kitchen", state="on") == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a trip for five friends", "contradiction"),
        ("eine Reise für fünf Freunde", "contradiction"),
        ("score the meal with five", ""),
        ("five points", ""),
    ],
)
def test_a_number_alone_is_no_reason_for_a_tool(text: str, code: str) -> None:
    assert doubted(text, "score_meal", points=5) == code


def test_the_ranking_writes_no_log(caplog: pytest.LogCaptureFixture) -> None:
    import bm25s  # sets its logger to DEBUG when it is imported

    logging.getLogger(bm25s.__name__).setLevel(logging.DEBUG)
    ToolIndex(TOOLS).rank(hear("stop the line"))
    assert [record for record in caplog.records if record.name.startswith("bm25s")] == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("open the sunroof", "open_garage"),
        ("mach das Dachfenster auf", "open_garage"),
        ("ouvre le coffre", "open_garage"),
        ("abre la ventana", "open_trunk"),
    ],
)
def test_a_thing_that_the_tool_is_not_about_refuses(text: str, name: str) -> None:
    assert doubted(text, name) == "contradiction"


def test_a_thing_by_another_name_is_the_same() -> None:
    """Its heating may be called climate, its line belt."""
    assert not about_another(hear("start the belt").concepts, frozenset({"#line"}))
    assert about_another(hear("start the belt").concepts, frozenset({"#garage"}))
