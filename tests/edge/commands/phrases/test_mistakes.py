"""Every mistake in a phrase is told at the start, with file, line and key."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.commands.phrases.book import PhraseBook
from lineside.edge.config import CommandConfig, Config
from lineside.edge.errors import ConfigError
from lineside.edge.phrase_files import MAX_PHRASES, declared_words
from lineside.edge.tool_config import PhraseConfig, ToolConfig
from tests.edge.commands.phrases.line import PERCENT, TOOLS, book, decided, parameters


def with_file(tmp_path: Path, text: str, tools: dict[str, ToolConfig] = TOOLS) -> Config:
    (tmp_path / "phrases.de.toml").write_text(text, encoding="utf-8")
    commands = CommandConfig(phrase_files=("phrases.de.toml",))
    return Config(tools=tools, commands=commands, folder=tmp_path, file=tmp_path / "station.toml")


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        (
            {"phrases": ("belt to {speed}",)},
            r"'belt to \{speed\}': \{speed\} is no argument of a that .*; it has percent",
        ),
        ({"phrases": ("belt [to {percent}",)}, r"`\[` is not closed"),
        ({"phrases": ("belt) to {percent}",)}, r"`\)` closes what was not opened"),
        ({"phrases": ("<belt> to {percent}",)}, "there is no rule <belt>"),
        ({"phrases": ("",)}, "it has an empty part"),
        ({"phrases": ("faster",)}, r"nothing says `percent`: add \{percent\}, or `arguments`"),
        ({"phrases": (PhraseConfig("stop it", {"percent": 120}),)}, "120 is above 100"),
        ({"phrases": (PhraseConfig("stop it", {"speed": 1}),)}, "`arguments.speed`: there is no such argument"),
        ({"phrases": (PhraseConfig("to {percent}", {"percent": 1}),)}, "is said by a slot, too"),
        ({"phrases": (PhraseConfig("to {percent}", units={"percent": "degF"}),)}, "say in `tools.a.units.percent`"),
        (
            {"phrases": (PhraseConfig("to {percent}", units={"percent": "metre"}),), "units": {"percent": "kg"}},
            "Cannot convert",
        ),
        ({"words": {"speed": {"1": ("one",)}}}, "`words.a.speed`: words are for arguments with an enum"),
        ({"words": {"percent": {"fast": ("fast",)}}}, "`words.a.percent.fast`: the values of percent are numbers"),
        ({"words": {"percent": {"1": ("[one",)}}}, "`words.a`: `\\[` is not closed"),
    ],
)
def test_a_mistake_names_the_phrase(tool: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        book({"a": ToolConfig("", PERCENT, **tool)})


def test_a_flag_without_words_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"add \[tools\.a\.words\.on\]"):
        book({"a": ToolConfig("", parameters(on={"type": "boolean"}), phrases=("light {on}",))})


def test_the_line_of_a_phrase_file_is_told(tmp_path: Path) -> None:
    text = 'language = "de"\n[phrases]\nstop_line = [\n  "Halt",\n  "Band {schnell}",\n]\n'
    with pytest.raises(ConfigError, match=r"phrases\.de\.toml:5: `phrases\.stop_line`: 'Band \{schnell\}'"):
        PhraseBook(with_file(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('language = "nl"', "`language`"),
        ('language = "de"\n[sentences]', "`sentences`"),
        ('language = "de"\n[phrases]\nstart = ["los"]', r":3: `phrases\.start`: the station has no tool start"),
        ('language = "de"\n[words.stop_lin.a]\nb = ["c"]', r":2: `words\.stop_lin`: .*did you mean stop_line\?"),
        ('language = "de"\nlanguage = "fr"', "is not TOML"),
    ],
)
def test_a_phrase_file_with_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"phrases\.de\.toml.*{message}"):
        PhraseBook(with_file(tmp_path, text))


def test_a_phrase_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"`commands\.phrase_files`: nowhere\.toml cannot be read"):
        book(commands=CommandConfig(phrase_files=("nowhere.toml",)))


def test_two_phrases_that_are_one_sentence_are_both_named(tmp_path: Path) -> None:
    text = 'language = "de"\n[phrases]\nstop_line = ["(das|ein) Band an"]\nstart_line = ["das Band (an|los)"]\n'
    tools = {name: ToolConfig("") for name in ("stop_line", "start_line")}
    with pytest.raises(ConfigError) as error:
        PhraseBook(with_file(tmp_path, text, tools))
    assert "phrases.de.toml:4: `phrases.start_line`: 'das Band (an|los)' (start_line)" in str(error.value)
    assert "is the same sentence as '(das|ein) Band an' (stop_line) at" in str(error.value)
    assert "phrases.de.toml:3" in str(error.value)


def test_one_tool_with_two_arguments_for_a_sentence_is_a_mistake_too() -> None:
    tool = ToolConfig(
        "", PERCENT, phrases=(PhraseConfig("slow", {"percent": 10}), PhraseConfig("slow", {"percent": 20}))
    )
    with pytest.raises(ConfigError, match="is the same sentence"):
        book({"a": tool})


def test_words_of_the_station_file_hold_in_each_language_and_those_of_a_file_in_its_own(tmp_path: Path) -> None:
    text = """
language = "de"
no_tool = ["(starte|start) <band>"]
[rules]
band = "[das] Band"
[phrases]
set_light = ["schalte {room} {on}"]
stop_line = ["stoppe <band>"]
[words.set_light.room]
"living room" = ["Wohnzimmer"]
"""
    config = with_file(tmp_path, text)
    phrases = PhraseBook(config)
    assert decided(phrases, "Schalte Wohnzimmer aus") == ("set_light", {"room": "living room", "on": False})
    assert decided(phrases, "schalte Küche an") == ("set_light", {"room": "kitchen", "on": True})
    assert decided(phrases, "stoppe das Band") == ("stop_line", {})
    assert decided(phrases, "starte das Band") == "nothing_fits"
    assert decided(phrases, "turn the Wohnzimmer light on") == "unknown_value"
    assert declared_words(config)["set_light"]["room"] == {"kitchen": ("Küche",), "living room": ("Wohnzimmer",)}


def test_hundreds_of_phrases(tmp_path: Path) -> None:
    """A sentence is found among them as fast as among ten; a start takes some milliseconds for each."""
    names = ["".join(letters) for letters in itertools.product("abcdefgh", repeat=3)]
    lines = ",\n".join(f'"(fahr|fahre) [bitte] Achse {name} auf {{percent}} [Prozent]"' for name in names)
    phrases = PhraseBook(with_file(tmp_path, f'language = "de"\n[phrases]\nset_belt_speed = [\n{lines}\n]\n'))
    started = time.thread_time()
    assert decided(phrases, "fahre Achse feh auf vierzig Prozent") == ("set_belt_speed", {"percent": 40})
    assert time.thread_time() - started < 0.05


def test_more_than_are_taken(tmp_path: Path) -> None:
    lines = ", ".join(f'"x{number}"' for number in range(MAX_PHRASES + 1))
    with pytest.raises(ConfigError, match=f"{MAX_PHRASES} are taken"):
        PhraseBook(with_file(tmp_path, f'language = "de"\n[phrases]\nstop_line = [{lines}]\n'))
