"""Free texts: whole, without more, and of the right parameter, in four languages."""

from __future__ import annotations

from typing import Any

import pytest

from lineside.runtime.chat import ToolCall
from lineside.runtime.commands.declared import Declared
from lineside.runtime.commands.doubt import Judge
from lineside.runtime.commands.fillers import trimmed
from lineside.runtime.commands.heard import hear
from lineside.runtime.commands.language import likely
from lineside.runtime.commands.retrieval import ToolIndex
from lineside.runtime.commands.texts import without_fillers
from tests.runtime.commands.stations import tool

TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
PLAY = Declared(tool("play_music", "Play music by an artist.", artist=TEXT))
TOOLS = (
    PLAY,
    Declared(tool("add_to_playlist", "Put something on a playlist.", item=TEXT, playlist=TEXT)),
    Declared(tool("add_to_list", "Add an item to the shopping list.", False, item=TEXT, amount=COUNT)),
    Declared(tool("release_lot", "Release a lot of parts.", lot=TEXT)),
)
JUDGE, INDEX = Judge({one.name: one for one in TOOLS}), ToolIndex(TOOLS)


def doubted(text: str, name: str, **arguments: Any) -> str:
    heard = hear(text)
    doubt = JUDGE.doubt(heard, [ToolCall("1", name, arguments)], INDEX.rank(heard))
    return doubt.code if doubt else ""


@pytest.mark.parametrize(
    ("text", "value", "parameter", "left"),
    [
        ("play some nirvana", "some nirvana", "artist", "nirvana"),
        ("put on a bit of nirvana", "a bit of nirvana", "artist", "nirvana"),
        ("play the artist nirvana", "the artist nirvana", "artist", "nirvana"),
        ("play Some Girls", "Some Girls", "artist", "Some Girls"),
        ("play the band", "the band", "artist", "the band"),
        ("spiel etwas Nirvana", "etwas Nirvana", "artist", "Nirvana"),
        ("spiel mir bitte ein bisschen Mozart", "ein bisschen Mozart", "artist", "Mozart"),
        ("play me some nirvana", "me some nirvana", "artist", "nirvana"),
        ("play me and my monkey", "me and my monkey", "artist", "me and my monkey"),
        ("joue un peu de Mozart pour moi", "un peu de Mozart", "artist", "Mozart"),
        ("mets du Mozart pour moi", "du Mozart", "artist", "Mozart"),
        ("pon algo de Mozart para mí", "algo de Mozart", "artist", "Mozart"),
        ("release lot 4410", "lot 4410", "lot", "4410"),
        ("release the lot 4410", "the lot 4410", "lot", "4410"),
    ],
)
def test_what_stands_in_front_of_a_text_is_taken_off(text: str, value: str, parameter: str, left: str) -> None:
    assert trimmed(value, likely(text), parameter) == left


def test_the_calls_of_a_model_are_trimmed_before_they_are_doubted() -> None:
    heard = hear("play some nirvana")
    assert without_fillers(heard, PLAY, {"artist": "some nirvana"}) == {"artist": "nirvana"}
    assert doubted(heard.text, "play_music", artist="nirvana") == ""


@pytest.mark.parametrize(
    ("code", "text", "name", "arguments"),
    [
        ("badly_cut", "play some nirvana", "play_music", {"artist": "some nirvana"}),
        ("badly_cut", "play the song angie", "play_music", {"artist": "the song angie"}),
        ("badly_cut", "spiel das Lied Angie", "play_music", {"artist": "das Lied Angie"}),
        ("badly_cut", "joue la chanson angie", "play_music", {"artist": "la chanson angie"}),
        ("badly_cut", "pon la canción angie", "play_music", {"artist": "la canción angie"}),
        ("badly_cut", "play Deep Purple", "play_music", {"artist": "Purple"}),
        ("badly_cut", "play Deep Purple", "play_music", {"artist": "Deep"}),
        ("badly_cut", "play deep purple again", "play_music", {"artist": "deep"}),
        ("badly_cut", "play Hush, Hush, Sweet Charlotte", "play_music", {"artist": "Sweet Charlotte"}),
        ("badly_cut", "play Queen", "play_music", {"artist": "play Queen"}),
        ("badly_cut", "play songs by Queen", "play_music", {"artist": "by Queen"}),
        ("badly_cut", "add angie to my morning playlist", "add_to_playlist", {"item": "morning", "playlist": "angie"}),
        ("badly_cut", "add angie to sunrise", "add_to_playlist", {"item": "sunrise", "playlist": "angie"}),
        ("left_out", "add three oranges to the shopping list", "add_to_list", {"item": "three oranges"}),
        ("left_out", "füge 3 Orangen zur Einkaufsliste hinzu", "add_to_list", {"item": "3 Orangen"}),
        ("", "add oranges to the shopping list", "add_to_list", {"item": "oranges"}),
        ("", "add three oranges to the shopping list", "add_to_list", {"item": "oranges", "amount": 3}),
        ("", "add angie to my morning playlist", "add_to_playlist", {"item": "angie", "playlist": "morning"}),
        ("", "play deep purple again", "play_music", {"artist": "deep purple"}),
        ("", "play Deep Purple songs right now", "play_music", {"artist": "Deep Purple"}),
        ("", "Spiel Musik von Deep Purple", "play_music", {"artist": "Deep Purple"}),
        ("", "joue de la musique de Deep Purple maintenant", "play_music", {"artist": "Deep Purple"}),
        ("", "pon música de Deep Purple ahora", "play_music", {"artist": "Deep Purple"}),
        ("", "release lot 4410", "release_lot", {"lot": "4410"}),
    ],
)
def test_a_text_is_all_that_was_said_and_no_more(code: str, text: str, name: str, arguments: dict[str, Any]) -> None:
    assert doubted(text, name, **arguments) == code
