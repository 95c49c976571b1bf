"""What means the last call, in four languages, and what only looks as if it did."""

from __future__ import annotations

import pytest

from lineside.runtime.commands.refers import refers


@pytest.mark.parametrize(
    "text",
    [
        "stop that",
        "Undo that, please!",
        "Hey, undo it",
        "could you undo that?",
        "Mach das rückgängig",
        "Stopp das bitte",
        "Doch nicht!",
        "Annule ça",
        "Arrêtez cela, s'il vous plaît",
        "Deshazlo",
        "Cancela eso, por favor",
    ],
)
def test_undo(text: str) -> None:
    assert refers(text) == "undo"


@pytest.mark.parametrize(
    "text",
    [
        "again",
        "Once more, please",
        "do that again",
        "Noch einmal",
        "noch mal bitte",
        "Encore une fois",
        "otra vez",
        "Hazlo de nuevo",
    ],
)
def test_again(text: str) -> None:
    assert refers(text) == "again"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a bit more", "more"),
        ("Slightly less, please", "less"),
        ("etwas mehr", "more"),
        ("Bitte ein bisschen weniger", "less"),
        ("un peu plus, s'il te plaît", "more"),
        ("un poco menos", "less"),
    ],
)
def test_more_and_less(text: str, wanted: str) -> None:
    assert refers(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "stop the line",
        "don't stop that",
        "undo that and open the garage",
        "again?",
        "did you stop that?",
        "",
        "stop that lamp",
        "Halt das Band an",
        "encore",
        "is it on again",
        "stop that " * 20,
        "nicht noch einmal",
        "hello again",
        "Hallo, noch einmal!",
    ],
)
def test_what_says_more_is_another_sentence(text: str) -> None:
    assert refers(text) is None
