"""A phrase whose author wrote "please" or "now" is heard with and without."""

from __future__ import annotations

import pytest

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.commands.phrases.templates import rewrite
from lineside.edge.errors import ConfigError
from lineside.edge.tool_config import ToolConfig
from tests.edge.commands.phrases.line import book, decided, parameters

TOOLS = {
    "stop_line": ToolConfig(
        "Stop the line.",
        phrases=(
            "please stop the (line|belt) now",
            "[das] Band bitte sofort anhalten",
            "arrête la ligne s'il te plaît",
            "por favor para la línea ahora mismo",
        ),
    ),
    "order": ToolConfig("Order a coffee.", phrases=("I want coffee",)),
    "start_pump": ToolConfig("Start the pump.", phrases=("start the pump",)),
    "plan_pump": ToolConfig(
        "Start the pump at a time.",
        parameters(when={"enum": ["now", "later"]}),
        phrases=("start the pump {when}",),
    ),
    "play": ToolConfig("Play.", parameters(artist={"type": "string"}), phrases=("play {artist}", "ich will {artist}")),
    "note": ToolConfig("Note.", parameters(text={"type": "string"}), phrases=("now {text}",)),
}


@pytest.fixture(scope="module")
def phrases() -> PhraseBook:
    return book(TOOLS)


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("please stop the line now", "stop_line", {}),
        ("stop the belt", "stop_line", {}),
        ("now stop the line, please!", "stop_line", {}),
        ("Band bitte sofort anhalten", "stop_line", {}),
        ("Band anhalten", "stop_line", {}),
        ("bitte das Band anhalten", "stop_line", {}),
        ("Arrête la ligne", "stop_line", {}),
        ("s'il te plaît, arrête la ligne", "stop_line", {}),
        ("para la línea", "stop_line", {}),
        ("para la línea por favor", "stop_line", {}),
        ("I want coffee", "order", {}),
        ("please, I want coffee", "order", {}),
        ("start the pump", "start_pump", {}),
        ("please start the pump now", "plan_pump", {"when": "now"}),
        ("play queen please", "play", {"artist": "queen"}),
        ("ich will queen", "play", {"artist": "queen"}),
        ("now hello there", "note", {"text": "hello there"}),
    ],
)
def test_polite_words_make_no_difference(
    phrases: PhraseBook, text: str, tool: str, arguments: dict[str, object]
) -> None:
    assert decided(phrases, text) == (tool, arguments)


@pytest.mark.parametrize("text", ["coffee", "hello there", "queen"])
def test_what_is_left_of_a_phrase_is_none(phrases: PhraseBook, text: str) -> None:
    """A slot alone would take anything."""
    assert decided(phrases, text) is None


@pytest.mark.parametrize(
    ("template", "rewritten"),
    [
        ("please stop", "[please] stop"),
        ("stop [now]", "stop [[now]]"),
        ("stop now[adays] and now", "stop now[adays] and [now]"),
        ("arrête tout de suite", "arrete [tout de suite]"),
        ("(now|please) {x}", "(now|please) {x}"),
    ],
)
def test_what_may_be_left_out(template: str, rewritten: str) -> None:
    assert rewrite(template, lambda name: f"{{{name}}}", is_phrase=True) == rewritten


def test_a_polite_word_alone_does_not_tell_two_calls_apart() -> None:
    with pytest.raises(ConfigError, match=r"'stop now' .* is the same sentence as 'stop'"):
        book({"a": ToolConfig("A.", phrases=("stop",)), "b": ToolConfig("B.", phrases=("stop now",))})
