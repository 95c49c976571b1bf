"""Every sentence that a phrase makes is its call; with a word that negates it never acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.commands.phrases.spoken import hear, understand
from tests.edge.commands.phrases.line import book, decided

NEGATIONS = ("don't", "do not", "never", "please don't", "nicht", "niemals", "ne pas", "no", "you must not", "dont")
WORDS = (
    "stop",
    "the",
    "line",
    "set",
    "belt",
    "to",
    "50",
    "%",
    "not",
    "and",
    "play",
    "light",
    "on",
    "kitchen",
    "?",
    ",",
)


@pytest.fixture(scope="module")
def phrases() -> PhraseBook:
    return book()


Said = tuple[str, str, dict[str, Any]]


@st.composite
def sentences(draw: st.DrawFn) -> Said:
    """A sentence, and the call that it is."""
    percent, celsius = draw(st.integers(0, 80)), draw(st.integers(10, 60)) / 2
    room, on = draw(st.sampled_from(["kitchen", "living room"])), draw(st.booleans())
    the = draw(st.sampled_from(["", "the "]))
    calls: list[Said] = [
        (f"stop {the}line", "stop_line", {}),
        (f"set {the}belt to {percent} percent", "set_belt_speed", {"percent": percent}),
        (f"set {the}belt speed to {percent}%", "set_belt_speed", {"percent": percent}),
        (f"turn {the}{room} light {'on' if on else 'off'}", "set_light", {"room": room, "on": on}),
        (f"lights {'on' if on else 'off'} in {the}{room}", "set_light", {"room": room, "on": on}),
        (f"Heizung auf {celsius:g} Grad".replace(".", ","), "set_heating", {"celsius": celsius}),
    ]
    text, tool, arguments = draw(st.sampled_from(calls))
    before = draw(st.sampled_from(["", "please ", "could you ", "Hey, ", "könntest du bitte ", "¿puedes "]))
    behind = draw(st.sampled_from(["", ".", "!", ", please", " bitte", " now", "  "]))
    changes: list[Callable[[str], str]] = [str, str.upper, str.title, str.lower]
    return draw(st.sampled_from(changes))(f"{before}{text}{behind}"), tool, arguments


@given(sentences())
@settings(max_examples=60, deadline=None)
def test_what_a_phrase_makes_is_its_call(phrases: PhraseBook, sentence: Said) -> None:
    text, tool, arguments = sentence
    assert decided(phrases, text) == (tool, arguments)


@given(sentences(), st.sampled_from(NEGATIONS), st.data())
@settings(max_examples=80, deadline=None)
def test_with_a_negation_anywhere_it_never_acts(
    phrases: PhraseBook, sentence: Said, negation: str, data: st.DataObject
) -> None:
    words = sentence[0].split()
    place = data.draw(st.integers(0, len(words)))
    said = " ".join([*words[:place], negation, *words[place:]])
    assert not isinstance(decided(phrases, said), tuple), said


@given(sentences(), sentences(), st.sampled_from([" and ", " then ", ". ", " und ", ", "]))
@settings(max_examples=40, deadline=None)
def test_two_sentences_are_no_call(phrases: PhraseBook, one: Said, other: Said, between: str) -> None:
    assert not isinstance(decided(phrases, one[0].rstrip(" .!") + between + other[0]), tuple)


@given(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
@settings(max_examples=80, deadline=None)
def test_words_in_any_order_raise_nothing_unexpected(phrases: PhraseBook, text: str) -> None:
    decided(phrases, text)


@given(st.text(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_text_can_be_heard(phrases: PhraseBook, text: str) -> None:
    said = hear(text)
    assert len(said.words) == len(said.spans)
    for variant in understand(text).variants:
        assert len(variant.words) == len(variant.spans)
    decided(phrases, text)
