"""The language of conditions: what it says, and that nothing else can be said in it."""

from __future__ import annotations

from typing import Any

import pytest

from lineside.edge.conditions import Incomparable, parse_condition

VALUES: dict[str, Any] = {"Vehicle.Speed": 3.5, "lamp": "on", "open": False, "gear": -1}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Vehicle.Speed < 5", True),
        ("5 > Vehicle.Speed", True),
        ("Vehicle.Speed >= 3.5 and Vehicle.Speed <= 3.5", True),
        ("gear == -1", True),
        ("gear != -1", False),
        ("lamp == 'on'", True),
        ('lamp != "on"', False),
        ("open", False),
        ("not open", True),
        ("open == false", True),
        ("not (open or Vehicle.Speed > 5)", True),
        ("open or lamp == 'off' and Vehicle.Speed < 5", False),
        ("(open or lamp == 'on') and Vehicle.Speed < 5", True),
        ("not not not open", True),
    ],
)
def test_what_it_says(text: str, wanted: bool) -> None:
    assert parse_condition(text).holds(VALUES) is wanted


def test_its_states_by_name() -> None:
    assert parse_condition("a.b < 5 or (c and a.b > 9)").names == ("a.b", "c")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1 < 2",
        "Vehicle.Speed <",
        "Vehicle.Speed < 5 5",
        "0 < Vehicle.Speed < 5",
        "(Vehicle.Speed < 5",
        "Vehicle.Speed < 5)",
        "Vehicle.Speed = 5",
        "Vehicle.Speed & 5",
        "a and",
        "a or or b",
        "__import__('os').system('x')",
        "a[0] == 1",
        "a.b() == 1",
        "a == 1 if b else 2",
        "a == 'x",
        "a < 5x",
        "a == " + "(" * 600,
    ],
)
def test_what_it_does_not_say(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no state|characters"):
        parse_condition(text)


@pytest.mark.parametrize(
    "text", ["lamp < 5", "lamp", "Vehicle.Speed", "Vehicle.Speed == true", "open < 1", "lamp == 1", "open or lamp < 5"]
)
def test_what_cannot_be_compared_is_not_true_and_not_false(text: str) -> None:
    with pytest.raises(Incomparable):
        parse_condition(text).holds({**VALUES, "open": True})


def test_no_number_is_no_number() -> None:
    with pytest.raises(Incomparable):
        parse_condition("Vehicle.Speed < 5").holds({"Vehicle.Speed": float("nan")})
