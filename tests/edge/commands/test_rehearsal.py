"""`lineside say`: what would be done and why; nothing is, and the model is loaded only where a sentence needs it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lineside.edge.command_line.main import main
from lineside.edge.commands.rehearsal import Rehearsal
from lineside.edge.config import Config
from lineside.runtime.engine.engine import Engine
from tests.edge.commands.phrases.line import TOOLS

SENTENCE = "150 is above 100 (percent): nothing was done."
STATION = """
[station]
name = "line"
[tools.stop_line]
description = "Stop the line."
phrases = ["stop the line"]
confirm_s = 20
[tools.open_gate]
description = "Open the gate."
allowed = false
phrases = ["open the gate"]
"""


def no_model() -> Engine:
    raise AssertionError("the model was loaded")


def test_a_phrase_is_told_without_the_model() -> None:
    told = Rehearsal(Config(tools=TOOLS), no_model).tell("could you stop the line?")
    assert (told.by, dict(told.carried_out), told.code) == ("phrase", {"stop_line": {}}, "")
    told = Rehearsal(Config(tools=TOOLS), no_model).tell("set the belt to 150")
    assert (told.by, dict(told.carried_out), told.code, told.why) == ("phrase", {}, "out_of_range", SENTENCE)


def test_the_policy_has_the_last_word() -> None:
    tools = {"stop_line": dataclasses.replace(TOOLS["stop_line"], allowed=False)}
    told = Rehearsal(Config(tools=tools), no_model).tell("stop the line")
    assert (told.by, told.carried_out, told.code) == ("phrase", {}, "not_allowed")


def test_a_sentence_again_and_again_uses_up_no_rate() -> None:
    tools = {"stop_line": dataclasses.replace(TOOLS["stop_line"], cool_down_s=60.0)}
    rehearsal = Rehearsal(Config(tools=tools), no_model)
    assert [rehearsal.tell("stop the line").code for _ in range(3)] == ["", "", ""]


def test_what_is_no_phrase_is_put_to_the_model(random_engine: Engine) -> None:
    opened = []

    def open_model() -> Engine:
        opened.append(1)
        return random_engine

    rehearsal = Rehearsal(Config(), open_model)
    assert [rehearsal.tell(text).by for text in ("hello", "hello again")] == ["model", "model"]
    assert opened == [1]
    assert Rehearsal(Config(), None).tell("hello").by == ""


@pytest.fixture
def station(tmp_path: Path) -> Path:
    (tmp_path / "station.toml").write_text(STATION, encoding="utf-8")
    return tmp_path


def test_one_sentence_on_the_command_line(station: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["say", str(station), "stop the line", "--no-model"]) == 0
    what, by, why = capsys.readouterr().out.splitlines()
    assert (what, why) == ("stop_line {}", "a person would be asked, for 20 s")
    assert by.startswith("decided by a phrase, in ")
    assert main(["say", str(station / "station.toml"), "open the gate", "--no-model"]) == 0
    assert "not_allowed: open_gate is declared with allowed = false" in capsys.readouterr().out
    assert [path.name for path in station.iterdir()] == ["station.toml"]


def test_a_file_of_sentences_is_a_table(station: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"text": "stop the line", "right": {"stop_line": {}}},
        {"text": "do not stop the line", "right": None},
        {"text": "open the gate", "right": "refused: not allowed"},
        {"text": "halt", "right": {"stop_line": {}}},
        {"text": "open sesame", "right": "who knows"},
        {"text": "stop the line", "right": None, "station": "another"},
    ]
    file = station / "said.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\nwhat is this\n\n", encoding="utf-8")
    assert main(["say", str(station), "--no-model", "--all", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "6 sentences, 2 by phrase, 3 right, 1 not done, 0 acted wrongly"
    file.write_text(json.dumps({"text": "stop the line", "right": None}), encoding="utf-8")
    assert main(["say", str(station), "--no-model", "--all", str(file)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one sentence"),
        (("stop", "--all", "said.jsonl"), "give one sentence"),
        (("--all", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
        (("--all", "broken.jsonl"), 'line 1 is no JSON object with "text"'),
        (("--all", "empty.jsonl"), "it has no sentence for this station"),
    ],
)
def test_a_mistake_on_the_command_line(
    station: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(station)
    (station / "broken.jsonl").write_text("{no", encoding="utf-8")
    (station / "empty.jsonl").write_text("\n", encoding="utf-8")
    assert main(["say", ".", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_check_names_a_mistake_in_a_phrase(station: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = station / "station.toml"
    path.write_text(STATION.replace('["stop the line"]', '["stop the {what}"]'), encoding="utf-8")
    assert main(["check", str(path)]) == 2
    assert f"{path}:6: `tools.stop_line.phrases`: 'stop the {{what}}'" in capsys.readouterr().err
