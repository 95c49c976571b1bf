"""A number that says by how much is no value: `by 10`, `10 more`, in four languages."""

from __future__ import annotations

import pytest

from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.doubt import Judge
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.retrieval import ToolIndex
from tests.runtime.commands.stations import PERCENT, tool

TOOLS = (
    Declared(tool("set_pump_speed", "Set the speed of the pump in percent.", percent=PERCENT)),
    Declared(tool("change_pump_speed", "Change the speed of the pump by some percent.", percent=PERCENT)),
)
JUDGE, INDEX = Judge({one.name: one for one in TOOLS}), ToolIndex(TOOLS)


def doubted(text: str, name: str, percent: int) -> str:
    heard = hear(text)
    doubt = JUDGE.doubt(heard, [ToolCall("1", name, {"percent": percent})], INDEX.rank(heard))
    return doubt.code if doubt else ""


@pytest.mark.parametrize(
    "text",
    [
        "turn the pump speed up by 20",
        "pump speed 20 percent faster",
        "increase the pump speed 20 percent",
        "give the pump another 20 percent",
        "lower the pump speed by twenty",
        "Pumpe um 20 Prozent schneller",
        "die Pumpe um weitere zwanzig Prozent drosseln",
        "Pumpe 20 Prozent runter",
        "augmente la vitesse de la pompe de 20 pour cent",
        "vingt pour cent de plus pour la pompe",
        "sube la velocidad de la bomba en 20 por ciento",
        "la bomba veinte por ciento más",
    ],
)
def test_by_how_much_is_no_value(text: str) -> None:
    assert doubted(text, "set_pump_speed", 20) == "by_how_much"
    assert doubted(text, "change_pump_speed", 20) != "by_how_much"


@pytest.mark.parametrize(
    "text",
    [
        "set the pump speed to 20",
        "increase the pump speed to 20 percent",
        "pump at 20 percent, by the way",
        "Pumpe auf 20 Prozent hoch",
        "Pumpe auf 20 Prozent",
        "augmente la vitesse de la pompe à 20 pour cent",
        "la pompe à vitesse de 20 pour cent",
        "sube la bomba al 20 por ciento",
    ],
)
def test_a_value_stays_one(text: str) -> None:
    assert doubted(text, "set_pump_speed", 20) == ""
