"""A model that is not sure that a function is wanted calls none of its own accord. A text may be bound to a schema."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lineside.runtime.assistant import ask, stream
from lineside.runtime.chat import Message, Prompt, Tool
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import GREEDY, Sampling
from lineside.runtime.grammar.json_schema import UnsupportedKeyword

MESSAGES = [
    Message("system", ("You control a production line. Call a function, or say that none fits.",)),
    Message("user", ("set the lamp to red",)),
]
TOOLS = [
    Tool(
        "set_lamp",
        "Set the color of the signal lamp.",
        {"type": "object", "properties": {"color": {"enum": ["red", "green"]}}, "required": ["color"]},
    ),
    Tool("stop_line", "Stop the line.", {"type": "object", "properties": {}}),
]


@pytest.fixture(scope="module")
def probability(default_engine: Engine) -> float:
    """That the answer begins with a call."""
    prompt = default_engine.tokenizer.encode_chat(MESSAGES, TOOLS)
    with default_engine.sequence(Prompt(prompt.ids), reserve=1) as sequence:
        logits = sequence.logits.astype(np.float64)
    odds = np.exp(logits - logits.max())
    return float(odds[default_engine.tokenizer.tool_calls_id] / odds.sum())


def test_it_calls_where_it_is_sure_enough(default_engine: Engine, probability: float) -> None:
    assert probability > 0.5
    answer = ask(default_engine, MESSAGES, TOOLS, sampling=GREEDY, call_above=probability * 0.99)
    assert [(call.name, call.arguments) for call in answer.calls] == [("set_lamp", {"color": "red"})]


def test_it_says_something_instead_where_it_is_not(default_engine: Engine, probability: float) -> None:
    answer = ask(default_engine, MESSAGES, TOOLS, sampling=GREEDY, call_above=(1 + probability) / 2)
    assert not answer.calls
    assert answer.text
    assert answer.finish_reason == "stop"


def test_chance_does_not_call_either(default_engine: Engine) -> None:
    for seed in range(8):
        answer = ask(default_engine, MESSAGES, TOOLS, sampling=Sampling(2.0, seed), max_tokens=4, call_above=1.0)
        assert default_engine.tokenizer.tool_calls_id not in answer.ids[:1]


def test_a_call_that_was_asked_for_needs_no_certainty(default_engine: Engine) -> None:
    answer = ask(default_engine, MESSAGES, TOOLS, tool_choice="required", sampling=GREEDY, call_above=1.0)
    assert [call.name for call in answer.calls] == ["set_lamp"]


def test_a_text_under_a_schema_is_json(random_engine: Engine) -> None:
    schema = {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 2, "maxItems": 3}
    question = [Message("user", ("Which lamps are on?",))]
    for seed in range(4):
        answer = ask(random_engine, question, schema=schema, sampling=Sampling(2.0, seed))
        assert answer.finish_reason == "stop"
        found = json.loads(answer.text)
        assert 2 <= len(found) <= 3
        assert set(found) <= {"red", "green"}
    with pytest.raises(UnsupportedKeyword, match="#/not"):
        ask(random_engine, question, schema={"not": {}})
    with pytest.raises(ValueError, match="give one of them"):
        stream(random_engine, question, TOOLS, schema=schema)
