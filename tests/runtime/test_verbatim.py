"""A bundle with `verbatim_arguments` passes nothing to a function that nobody said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator

from export.bundle_writer import PRECISIONS, export_bundle
from runtime.assistant import ask, tool_result
from runtime.bundle import MANIFEST, read_manifest
from runtime.chat import Message, Tool, ToolCall
from runtime.engine import Engine
from runtime.sampling import Sampling
from runtime.tool_grammar import OneTool
from runtime.verbatim import MOST_CHARACTERS, MOST_WORDS, said, verbatim
from tests.support.checkpoints import copy_checkpoint

COMMAND = 'Spiele "Ça ira" (live) von Édith Piaf, but not Pan\'s Labyrinth!'
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "What to play."},
        "short": {"type": "string", "maxLength": 4},
        "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "mode": {"enum": ["once", "for ever"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "inner": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
    "required": ["title", "short", "code", "mode", "tags", "inner"],
    "additionalProperties": False,
}
PLAY = Tool("play", "Play.", PARAMETERS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Random weights, which choose anything that the grammar lets them."""
    folder: Path = tmp_path_factory.mktemp("verbatim")
    checkpoint = copy_checkpoint("grouped", folder, "v13")
    bundle = export_bundle(checkpoint, folder / "bundle", precisions=PRECISIONS["int4"], verbatim_arguments=True)
    return Engine.open(bundle, threads=1)


def texts(arguments: Any) -> list[str]:
    return [arguments["title"], arguments["short"], *arguments["tags"], arguments["inner"]["name"]]


def test_free_texts_are_words_of_the_conversation(engine: Engine) -> None:
    seen = set()
    for seed in range(40):
        answer = ask(
            engine,
            [Message("user", (COMMAND,))],
            [PLAY],
            tool_choice=OneTool("play"),
            max_tokens=400,
            sampling=Sampling(3.0, seed),
        )
        if answer.finish_reason != "stop":
            continue
        (call,) = answer.calls
        Draft202012Validator(PARAMETERS).validate(dict(call.arguments))
        for text in texts(call.arguments):
            assert text in COMMAND
            assert text == text.strip()
            seen.add(text)
    assert len(seen) > 20


def test_tool_results_are_said_too_and_system_texts_are_not() -> None:
    call = ToolCall("000000000", "play", {"title": "x"})
    messages = [
        Message("system", ("Secret words.",)),
        Message("user", ("Play that.",)),
        Message("assistant", (), (call,)),
        tool_result(call, json.dumps({"found": "Nina Simone"})),
    ]
    runs = said(messages)
    assert {"that", "Play that.", "Nina Simone"} <= set(runs)
    assert not any("Secret" in run or "words" in run for run in runs)


def test_runs_begin_and_end_with_whole_words() -> None:
    runs = said([Message("user", ("add Jürgen's well-known song",))])
    assert {"Jürgen's", "well-known", "well-known song"} <= set(runs)
    assert "Jürg" not in runs
    assert " song" not in runs


def test_long_and_odd_texts_are_bounded() -> None:
    words = [f"word{number}" for number in range(5000)]
    runs = said([Message("user", (" ".join(words),))])
    assert sum(map(len, runs)) <= MOST_CHARACTERS
    assert words[-1] in runs  # the newest
    assert " ".join(words[-MOST_WORDS:]) in runs
    assert said([Message("user", ("x" * (MOST_CHARACTERS + 1),))]) == ()
    assert "a\x07b" not in said([Message("user", ("a\x07b \ud800 c",))])


def test_other_texts_are_left_as_they_are() -> None:
    narrowed = verbatim(PARAMETERS, ["a run", "b"])["properties"]
    assert narrowed["code"] == PARAMETERS["properties"]["code"]
    assert narrowed["mode"] == PARAMETERS["properties"]["mode"]
    assert narrowed["short"] == {"enum": ["b"]}
    assert verbatim(PARAMETERS, []) == PARAMETERS


def test_nothing_was_said(engine: Engine) -> None:
    """Without a word the schema holds as it is."""
    answer = ask(
        engine, [Message("user", (" ",))], [PLAY], tool_choice=OneTool("play"), sampling=Sampling(1.0, 1), max_tokens=9
    )
    assert answer.counts.generated


def test_only_bundles_that_say_so(engine: Engine, tmp_path: Path) -> None:
    assert engine.bundle.manifest.verbatim_arguments
    older = json.loads(engine.bundle.manifest.to_json())
    del older["verbatim_arguments"]
    (tmp_path / MANIFEST).write_text(json.dumps(older))
    assert not read_manifest(tmp_path).verbatim_arguments
