"""A bundle with `verbatim_arguments` passes no text to a function that nobody said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.writer import export_bundle
from lineside.runtime.assistant import ask, tool_result
from lineside.runtime.bundle import read_manifest
from lineside.runtime.chat import Message, Tool, ToolCall
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.grammar.tool_grammar import OneTool
from lineside.runtime.grammar.verbatim import MOST_BYTES, MOST_WORDS, said, said_once
from lineside.runtime.manifest import MANIFEST
from tests.support.checkpoints import copy_checkpoint

COMMAND = 'Spiele "Ça ira" (live) von Édith Piaf, but not Pan\'s Labyrinth!'
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "What to play.", "$comment": "-"},
        "short": {"type": "string", "maxLength": 4},
        "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "mode": {"enum": ["once", "for ever"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 2},
        "inner": {
            "type": "object",
            "properties": {
                "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "mark": {"type": ["string", "null"]},
            },
            "required": ["name", "mark"],
            "additionalProperties": False,
        },
    },
    "$defs": {"tag": {"type": "string"}},
    "required": ["title", "short", "code", "mode", "tags", "inner"],
    "additionalProperties": False,
}
PLAY = Tool("play", "Play.", PARAMETERS)
OPEN = Tool("note", "Note.", {"type": "object", "properties": {"a": {}}, "required": ["a"]})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Random weights, which choose anything that the grammar lets them."""
    folder: Path = tmp_path_factory.mktemp("verbatim")
    checkpoint = copy_checkpoint("grouped", folder, "v13")
    bundle = export_bundle(checkpoint, folder / "bundle", ExportOptions(verbatim_arguments=True))
    return Engine.open(bundle, threads=1)


def call(engine: Engine, text: str, tool: Tool, seed: int) -> dict[str, Any] | None:
    """The arguments, where the model came to an end of them."""
    answer = ask(
        engine,
        [Message("user", (text,))],
        [tool],
        tool_choice=OneTool(tool.name),
        max_tokens=400,
        sampling=Sampling(3.0, seed),
    )
    return dict(answer.calls[0].arguments) if answer.finish_reason == "stop" else None


def allowed(engine: Engine, tool: Tool, runs: tuple[str, ...], arguments: dict[str, Any]) -> bool:
    """Whether the grammar takes a call."""
    constraint = engine.grammars.tools([tool], OneTool(tool.name), runs)
    tokens = engine.tokenizer.encode_answer("", [ToolCall("000000000", tool.name, arguments)])
    return constraint.count_allowed(tokens.tolist()) == len(tokens)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [text for part in parts for text in strings(part)]
    return [value] if isinstance(value, str) else []


def test_free_texts_are_words_of_the_conversation(engine: Engine) -> None:
    seen = set()
    for seed in range(40):
        arguments = call(engine, COMMAND, PLAY, seed)
        if arguments is None:
            continue
        Draft202012Validator(PARAMETERS).validate(arguments)
        for text in strings({key: value for key, value in arguments.items() if key not in ("code", "mode")}):
            assert text in COMMAND
            assert text == text.strip()
            seen.add(text)
    assert len(seen) > 20


def test_values_of_open_objects_too(engine: Engine) -> None:
    texts = []
    for seed in range(12):
        texts += strings(call(engine, COMMAND, OPEN, seed) or {})
    assert texts
    assert all(text in COMMAND for text in texts)


def test_tool_results_are_said_too_and_system_texts_are_not() -> None:
    call = ToolCall("000000000", "play", {"title": "x"})
    result = {"found": ['Nina "Eunice" Simone', 7], "path": "C:\\new", "ok": True}
    messages = [
        Message("system", ("Secret words.",)),
        Message("user", ("Play that.",)),
        Message("assistant", (), (call,)),
        tool_result(call, json.dumps(result)),
        tool_result(call, "not JSON {"),
    ]
    runs = set(said(messages))
    assert {"that", 'Nina "Eunice" Simone', "7", "C:\\new", "not JSON"} <= runs
    assert not runs & {"Secret", "words", "found", "True", "{", "."}


def test_runs_begin_and_end_with_whole_words() -> None:
    runs = said(
        [
            Message(
                "user", ("add Ju\u0308rgen's well-known\u00a0song \u0939\u093f\u0928\u094d\u0926\u0940 \u64ad\u653e",)
            )
        ]
    )
    assert {"Jürgen's", "well-known", "well-known\u00a0song", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u653e"} <= set(
        runs
    )
    assert not {"Jürg", " song", "-", "\u0939"} & set(runs)


def test_a_long_conversation_keeps_its_words_before_its_sentences() -> None:
    words = [f"word{number}" for number in range(2000)]
    result = Message("tool", (" ".join(f"found{number}" for number in range(2000)),))
    runs = said([Message("user", ("x" * (MOST_BYTES + 1) + " " + " ".join(words),)), result])
    assert set(words) < set(runs)
    assert sum(len(json.dumps(run)) for run in runs) <= MOST_BYTES
    few = said([Message("user", (" ".join(words[:40]),))])
    assert " ".join(words[16:40]) in few
    assert max(run.count(" ") for run in few) == MOST_WORDS - 1


def test_odd_characters_and_bounds_can_be_written(engine: Engine) -> None:
    runs = said([Message("user", ('a\x07b \ud800 say "hi" \\ \U0001f600 blue',))])
    assert not any("\x07" in run or "\ud800" in run for run in runs)
    tool = Tool(
        "t", "", {"type": "object", "properties": {"x": {"type": "string", "minLength": 5}, "y": {"type": "string"}}}
    )
    assert allowed(engine, tool, runs, {"x": 'say "hi"', "y": 'say "hi" \\ \U0001f600 blue'})
    assert not allowed(engine, tool, runs, {"x": "blue"})
    assert not allowed(engine, tool, runs, {"y": "green"})


def test_what_is_said_once_fills_one_argument(engine: Engine) -> None:
    text = {"type": "string"}
    parameters = {"type": "object", "properties": {"who": text, "where": text}, "required": ["who"]}
    tool = Tool("find", "", {**parameters, "additionalProperties": False})
    once = [call(engine, "Piaf", tool, seed) for seed in range(20)]
    twice = [call(engine, "Piaf Piaf", tool, seed) for seed in range(20)]
    assert {"who": "Piaf"} in once
    assert all(arguments in (None, {"who": "Piaf"}) for arguments in once)
    assert {"who": "Piaf", "where": "Piaf"} in twice


def test_only_optional_free_texts_are_left_out() -> None:
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"state": {"enum": ["on", "off"]}, "room": text, "by": text}}
    messages = [Message("user", ("Switch it off by noon.",))]
    given = {"state": "off", "room": "OFF", "by": "noon"}
    assert said_once(given, schema, messages) == {"state": "off", "by": "noon"}
    assert said_once({"state": "off", "by": "noon"}, schema, messages) == {"state": "off", "by": "noon"}
    for strict in ({"required": ["room"]}, {"minProperties": 3}):
        assert said_once(given, {**schema, **strict}, messages) == given
    assert said_once(
        {"a": "noon", "by": "noon"}, {"type": "object", "properties": {"a": True, "by": text}}, messages
    ) == {"a": "noon"}
    decomposed = [Message("user", ("E\u0301dith and E\u0301dith",))]
    names = {"first": "\u00c9dith", "second": "\u00c9dith"}
    assert said_once(names, {"type": "object", "properties": {"first": text, "second": text}}, decomposed) == names
    again = [*messages, Message("user", ("Off!",))]
    assert said_once(given, schema, again) == given


def test_other_texts_are_left_as_they_are(engine: Engine) -> None:
    runs = said([Message("user", (COMMAND,))])
    rest = {"title": "Piaf", "short": "not", "tags": ["but"], "inner": {"name": None, "mark": "live"}}
    order = list(PARAMETERS["properties"])

    def in_order(**values: str) -> dict[str, Any]:
        return {key: {**rest, **values}[key] for key in order}

    assert allowed(engine, PLAY, runs, in_order(code="ABC", mode="for ever"))
    assert not allowed(engine, PLAY, runs, in_order(code="Abc", mode="once"))
    assert not allowed(engine, PLAY, runs, in_order(code="ABC", mode="live"))


def test_where_nothing_was_said_nothing_is_passed_on(engine: Engine) -> None:
    tool = Tool("t", "", {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]})
    assert allowed(engine, tool, said([Message("user", (" ?",))]), {"x": ""})
    assert not allowed(engine, tool, said([Message("user", (" ?",))]), {"x": "Piaf"})


def test_a_schema_that_no_word_satisfies_stays_free_and_is_logged(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "string"}},
        "required": ["x"],
        "allOf": [{"properties": {"x": {"minLength": 20}}}],
    }
    with caplog.at_level(logging.WARNING):
        engine.grammars.tools([Tool("t", "", schema)], OneTool("t"), ("short",))
    assert "not bound" in caplog.text


def test_only_bundles_that_say_so(engine: Engine, tmp_path: Path) -> None:
    assert engine.bundle.manifest.verbatim_arguments
    older = json.loads(engine.bundle.manifest.to_json()) | {"format_version": 2}
    del older["verbatim_arguments"]
    (tmp_path / MANIFEST).write_text(json.dumps(older))
    assert not read_manifest(tmp_path).verbatim_arguments
