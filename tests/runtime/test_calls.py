"""Grammar and parser agree, whatever the tools, the weights and the version of the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator
from mistral_common.protocol.instruct.messages import AssistantMessage
from mistral_common.protocol.instruct.tool_calls import FunctionCall
from mistral_common.protocol.instruct.tool_calls import ToolCall as MistralToolCall

from lineside.export.bundle.writer import export_bundle
from lineside.runtime.assistant import Answer, ask, stream, tool_result
from lineside.runtime.chat import Message, Tool, ToolCall
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY, Sampling
from lineside.runtime.errors import GrammarError
from lineside.runtime.grammar.tool_grammar import OneTool, ToolChoice
from lineside.runtime.text.call_stream import ArgumentsDelta, CallDelta, TextDelta
from tests.support.checkpoints import copy_checkpoint
from tests.support.random_tools import random_tools

VERSIONS = ["v3", "v7", "v11", "v13"]
GENERATIONS, PARTS = 60, 3
"""For each version."""
HELLO = [Message("user", ("Do something.",))]
STOP = Tool("stop", "Stop.", {"type": "object", "properties": {}, "additionalProperties": False})
LIGHT = Tool(
    "light",
    "Switch the light.",
    {
        "type": "object",
        "properties": {"on": {"type": "boolean"}, "room": {"enum": ["küche", "bad"]}},
        "required": ["on", "room"],
        "additionalProperties": False,
    },
)


@pytest.fixture(scope="module")
def engine_of(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Random weights with a tokenizer of each version."""

    @cache
    def build(version: str) -> Engine:
        folder: Path = tmp_path_factory.mktemp(version)
        checkpoint = copy_checkpoint("grouped", folder, version)
        return Engine.open(export_bundle(checkpoint, folder / "bundle"), threads=1)

    return build


def mistral_tokens(engine: Engine, calls: tuple[ToolCall, ...]) -> list[int]:
    """The calls as mistral-common encodes them, without the end token."""
    message = AssistantMessage(
        tool_calls=[
            MistralToolCall(id=c.id, function=FunctionCall(name=c.name, arguments=json.dumps(dict(c.arguments))))
            for c in calls
        ]
    )
    tokens: list[int] = engine.tokenizer.mistral.instruct_tokenizer.encode_assistant_message(message, False)
    return tokens[:-1]


def check(engine: Engine, tools: list[Tool], answer: Answer) -> None:
    schemas = {tool.name: tool.parameters for tool in tools}
    assert len({call.id for call in answer.calls}) == len(answer.calls)
    for call in answer.calls:
        assert len(call.id) == 9
        Draft202012Validator(schemas[call.name]).validate(dict(call.arguments))
    marker = answer.ids.index(engine.tokenizer.special_id("[TOOL_CALLS]"))
    assert list(answer.ids[marker:]) == mistral_tokens(engine, answer.calls)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_call_is_right_by_construction(engine_of, version: str, part: int) -> None:  # type: ignore[no-untyped-def]
    """Random tools, random weights, temperatures at which the model babbles."""
    engine = engine_of(version)
    complete = parallel = 0
    for seed in range(part * GENERATIONS // PARTS, (part + 1) * GENERATIONS // PARTS):
        rng = np.random.default_rng(seed)
        tools = random_tools(rng)
        while len(engine.tokenizer.encode_chat(HELLO, tools).ids) > engine.capacity - 250:
            tools = random_tools(rng)
        choice: ToolChoice = "required" if seed % 2 else "auto"
        sampling = Sampling(float(rng.uniform(0.5, 4)), seed)
        answer = ask(
            engine,
            HELLO,
            tools,
            tool_choice=choice,
            max_tokens=250,
            sampling=sampling,
        )
        if answer.finish_reason != "stop":
            assert answer.calls == ()
        elif answer.calls:
            check(engine, tools, answer)
            complete += 1
            parallel += len(answer.calls) > 1
    assert complete > GENERATIONS // PARTS // 4
    assert parallel


@pytest.mark.parametrize("version", VERSIONS)
def test_deltas_say_what_the_answer_says(engine_of, version: str) -> None:  # type: ignore[no-untyped-def]
    engine = engine_of(version)
    calls = 0
    for seed in range(30):
        choice: ToolChoice = "required" if seed % 2 else "auto"
        deltas = stream(engine, HELLO, [STOP, LIGHT], tool_choice=choice, max_tokens=200, sampling=Sampling(2.0, seed))
        names: dict[int, CallDelta] = {}
        arguments: dict[int, str] = {}
        text = ""
        for delta in deltas:
            if isinstance(delta, TextDelta):
                text += delta.text
            elif isinstance(delta, CallDelta):
                assert delta.index == len(names)
                names[delta.index] = delta
                arguments[delta.index] = ""
            else:
                assert isinstance(delta, ArgumentsDelta)
                arguments[delta.index] += delta.text
        answer = deltas.answer
        if answer.finish_reason == "stop":
            assert text.strip() == answer.text
            said = [(names[i].id, names[i].name, json.loads(arguments[i])) for i in names]
            assert said == [(call.id, call.name, call.arguments) for call in answer.calls]
            calls += len(said)
    assert calls


@pytest.mark.parametrize("version", VERSIONS)
def test_a_tool_choice_is_kept(engine_of, version: str) -> None:  # type: ignore[no-untyped-def]
    engine = engine_of(version)
    for seed in range(12):
        sampling = Sampling(2.0, seed)
        one = ask(engine, HELLO, [STOP, LIGHT], tool_choice=OneTool("light"), max_tokens=200, sampling=sampling)
        assert [call.name for call in one.calls] == ["light"]
        required = ask(engine, HELLO, [STOP, LIGHT], tool_choice="required", max_tokens=250, sampling=sampling)
        assert required.text == ""
        assert required.calls or required.finish_reason != "stop"
        none = ask(engine, HELLO, [STOP, LIGHT], tool_choice="none", max_tokens=20, sampling=sampling)
        assert none.calls == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_results_are_fed_back_and_the_cache_knows_the_calls(engine_of, version: str) -> None:  # type: ignore[no-untyped-def]
    """A second turn finds the whole first one in the cache: its calls stand there as a prompt says them."""
    engine = engine_of(version)
    first = ask(engine, HELLO, [STOP], tool_choice=OneTool("stop"), sampling=Sampling(2.0, 3))
    (call,) = first.calls
    messages = [*HELLO, first.message(), tool_result(call, '{"outcome": "achieved"}')]
    second = ask(engine, messages, [STOP], max_tokens=5)
    # The last token was chosen, but no pass took it into the cache; nor an id that was put in at the end.
    late = 1 if engine.tokenizer.named_calls else 14
    assert second.counts.reused >= first.counts.prompt + len(first.ids) - late
    plain = ask(engine, [*HELLO, first.message(), tool_result(call, "not JSON \x07 {")], [STOP], max_tokens=5)
    assert plain.counts.prompt > first.counts.prompt


@pytest.mark.parametrize("version", VERSIONS)
def test_tools_that_make_no_sense_are_refused(engine_of, version: str) -> None:  # type: ignore[no-untyped-def]
    grammars = engine_of(version).grammars
    with pytest.raises(GrammarError, match="2 tools are called 'stop'"):
        grammars.tools([STOP, LIGHT, STOP])
    with pytest.raises(GrammarError, match="the tool name 'a b'"):
        grammars.tools([Tool("a b", "", STOP.parameters)])
    with pytest.raises(GrammarError, match="'explode' is not among"):
        grammars.tools([STOP], OneTool("explode"))
    with pytest.raises(GrammarError, match='parameters of stop must have "type": "object"'):
        grammars.tools([Tool("stop", "", {"type": "array"})])
    with pytest.raises(GrammarError, match=r"parameters of stop at #/properties/a/not: `not` is not supported"):
        grammars.tools([Tool("stop", "", {"type": "object", "properties": {"a": {"not": {}}}})])
    with pytest.raises(GrammarError, match="no tools"):
        grammars.tools([], "required")


@pytest.mark.parametrize("version", VERSIONS)
def test_little_room_cuts_off_rather_than_leaves_other_tokens(engine_of, version: str) -> None:  # type: ignore[no-untyped-def]
    """Near the end of the context there may be no room for a call as mistral-common writes it: then it is not given."""
    engine = engine_of(version)
    small = Engine.open(engine.bundle.path, threads=1, limits=Limits(capacity=190))
    cut = complete = 0
    for seed in range(60):
        answer = ask(small, HELLO, [STOP], tool_choice="required", max_tokens=200, sampling=Sampling(3.0, seed))
        if answer.finish_reason == "stop":
            check(small, [STOP], answer)
            complete += 1
        else:
            assert answer.calls == ()
            cut += 1
    assert cut + complete == 60


LISTS = ("[", "[5]", '[{"name": "stop"}]', '[{"name": "stop", "arguments": {"a": 1e999}}]')
UNREADABLE = {
    "v3": [json.dumps(text) for text in LISTS],
    "v13": ['"stop"', '"stop" <[32]> "{"', '"stop" <[32]> "[1]"', '"stop" <[32]> "{\\"a\\": 1e999}"'],
}
UNREADABLE |= {"v7": UNREADABLE["v3"], "v11": [*UNREADABLE["v13"], '"stop" <[33]> "abc123DEF"']}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_that_cannot_be_read_is_a_reason_and_no_error(
    engine_of: Callable[[str], Engine],
    version: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The real decode loop under a grammar that lets such a call through, with a call before it that could be read."""
    caplog.set_level("INFO")
    engine = engine_of(version)
    good = '<[9]> "stop" <[32]> "{}"' if engine.tokenizer.named_calls else ""
    text = '"On it."' if engine.tokenizer.text_before_calls else ""
    for written in UNREADABLE[version]:
        lark = f"start: {text} {good} <[9]> {written}"
        loose = engine.grammars._constraint(json.dumps({"grammars": [{"lark_grammar": lark}]}))
        monkeypatch.setattr(engine.grammars, "tools", lambda *_, loose=loose: loose.fresh())
        for sampling in (GREEDY, Sampling(2.0, 1)):
            caplog.clear()
            answer = ask(engine, HELLO, [STOP], sampling=sampling, call_above=0.0)
            assert (answer.finish_reason, answer.calls) == ("unreadable", ())
            assert answer.text == ("On it." if text else "")
            assert "no function is called" in caplog.text
        pieces = stream(engine, HELLO, [STOP], sampling=GREEDY)
        assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == answer.text
        assert pieces.answer.finish_reason == "unreadable"
    assert engine.pool.statistics().busy == 0
