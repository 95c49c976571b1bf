"""A phrase whose author wrote "please" is heard with and without it; one with "now" where that is said."""

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
    "note": ToolConfig("Note.", parameters(text={"type": "string"}), phrases=("now {text}", "{text} please")),
    "reject": ToolConfig("Reject.", phrases=("reject it please", "pieza mal", "esperar ya")),
    "later": ToolConfig("Later.", phrases=("not now", "doch nicht", "please not", "no, por favor", "mach eben weiter")),
    "is_bad": ToolConfig("Bad.", phrases=("está mal", "it is just right")),
    "is_there": ToolConfig("There.", phrases=("está", "it is right")),
}


@pytest.fixture(scope="module")
def phrases() -> PhraseBook:
    return book(TOOLS)


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("please stop the line now", "stop_line", {}),
        ("stop the belt now", "stop_line", {}),
        ("stop the belt please now", "stop_line", {}),
        ("Band bitte sofort anhalten", "stop_line", {}),
        ("Band sofort anhalten", "stop_line", {}),
        ("bitte das Band sofort anhalten", "stop_line", {}),
        ("Arrête la ligne", "stop_line", {}),
        ("s'il te plaît, arrête la ligne", "stop_line", {}),
        ("para la línea ahora mismo", "stop_line", {}),
        ("para la línea ahora mismo por favor", "stop_line", {}),
        ("I want coffee", "order", {}),
        ("please, I want coffee", "order", {}),
        ("start the pump", "start_pump", {}),
        ("please start the pump now", "plan_pump", {"when": "now"}),
        ("play queen please", "play", {"artist": "queen"}),
        ("ich will queen", "play", {"artist": "queen"}),
        ("now hello there", "note", {"text": "hello there"}),
        ("don't stop please", "note", {"text": "don't stop"}),
        ("reject it", "reject", {}),
        ("please reject it", "reject", {}),
        ("reject it, please", "reject", {}),
        ("pieza mal", "reject", {}),
        ("bitte, pieza mal", "reject", {}),
        ("not now", "later", {}),
        ("please, not now", "later", {}),
        ("doch nicht", "later", {}),
        ("please not", "later", {}),
        ("mach bitte eben weiter", "later", {}),
        ("está mal", "is_bad", {}),
        ("está", "is_there", {}),
        ("it is just right", "is_bad", {}),
        ("it is right", "is_there", {}),
    ],
)
def test_polite_words_make_no_difference(
    phrases: PhraseBook, text: str, tool: str, arguments: dict[str, object]
) -> None:
    assert decided(phrases, text) == (tool, arguments)


@pytest.mark.parametrize(
    "text",
    [
        *("coffee", "hello there", "queen", "don't stop", "pieza", "not", "nicht", "no", "esperar", "stop the line"),
        *("Band anhalten", "mach weiter"),
    ],
)
def test_what_is_left_of_a_phrase_is_none(phrases: PhraseBook, text: str) -> None:
    """A slot alone would take anything, and a word such as "mal" is a filler in one language only."""
    assert decided(phrases, text) is None


@pytest.mark.parametrize(
    ("template", "rewritten"),
    [
        ("please stop", "[please] stop"),
        ("stop [please]", "stop [[please]]"),
        ("stop please[d] and please", "stop please[d] and [please]"),
        ("arrête s'il te plaît", "arrete [s il te plait]"),
        ("arrête tout de suite, merci", "arrete tout de suite merci"),
        ("please don't", "please don t"),
        ("bitte nicht", "bitte nicht"),
        ("thank you", "thank you"),
        ("(now|please) {x}", "(now|please) {x}"),
    ],
)
def test_what_may_be_left_out(template: str, rewritten: str) -> None:
    assert rewrite(template, lambda name: f"{{{name}}}", is_phrase=True) == rewritten


def test_a_polite_word_alone_does_not_tell_two_calls_apart() -> None:
    with pytest.raises(ConfigError, match=r"'stop please' .* is the same sentence as 'stop'"):
        book({"a": ToolConfig("A.", phrases=("stop",)), "b": ToolConfig("B.", phrases=("stop please",))})
