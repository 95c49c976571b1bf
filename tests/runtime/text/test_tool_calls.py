from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.runtime.chat import ToolCall
from lineside.runtime.errors import AnswerError
from lineside.runtime.text.tokenizer import Tokenizer
from lineside.runtime.text.tool_calls import new_call_id, parse_tool_calls
from tests.support.tokenizers import write_small_tokenizer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tekken.json"
    write_small_tokenizer(path)
    return Tokenizer(path)


def ids(tokenizer: Tokenizer, *parts: str) -> list[int]:
    """Text, with special tokens given by their names."""
    tokens: list[int] = []
    for part in parts:
        special = tokenizer.special_id(part)
        tokens += [special] if special is not None else tokenizer.encode_text(part).tolist()
    return tokens


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_what_is_encoded_is_parsed(tokenizer: Tokenizer, arguments: dict[str, object]) -> None:
    call = ToolCall("abc123DEF", "set_belt_speed", arguments)
    text, (parsed,) = parse_tool_calls(tokenizer, tokenizer.encode_answer("", (call,)).tolist())
    assert (text, parsed.name, parsed.arguments) == ("", "set_belt_speed", arguments)
    assert len(parsed.id) == 9
    assert parsed.id.isalnum()


def test_parallel_calls_with_and_without_ids(tokenizer: Tokenizer) -> None:
    tokens = ids(
        tokenizer, "On it.", "[TOOL_CALLS]", "stop", "[CALL_ID]", "abc123DEF", "[ARGS]", "{}",
        "[TOOL_CALLS]", "set", "[ARGS]", '{"percent": 5}',
    )  # fmt: skip
    text, calls = parse_tool_calls(tokenizer, [*tokens, tokenizer.eos_id])
    assert text == "On it."
    assert [(call.name, call.arguments) for call in calls] == [("stop", {}), ("set", {"percent": 5})]
    assert calls[0].id == "abc123DEF"


@pytest.mark.parametrize("version", ["v3", "v7"])
def test_older_formats_are_a_json_list(tmp_path: Path, version: str) -> None:
    path = tmp_path / "tekken.json"
    write_small_tokenizer(path, version)
    tokenizer = Tokenizer(path)
    body = '[{"name": "stop", "arguments": {}, "id": "abc123DEF"}, {"name": "set", "arguments": {"percent": 5}}]'
    text, calls = parse_tool_calls(tokenizer, ids(tokenizer, "[TOOL_CALLS]", body))
    assert text == ""
    assert [(call.name, call.arguments) for call in calls] == [("stop", {}), ("set", {"percent": 5})]


DEEP = '{"a": ' + "[" * 9999


@pytest.mark.parametrize(
    "arguments",
    ["{", "[1]", "5", "not json", "", '{"a": 1e999}', '{"a": NaN}', '{"a": "\\ud800"}', DEEP],
    ids=lambda text: text[:12],
)
def test_arguments_that_are_no_object_are_refused(tokenizer: Tokenizer, arguments: str) -> None:
    with pytest.raises(AnswerError):
        parse_tool_calls(tokenizer, ids(tokenizer, "[TOOL_CALLS]", "stop", "[ARGS]", arguments))


def test_a_call_without_arguments_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(AnswerError, match="without"):
        parse_tool_calls(tokenizer, ids(tokenizer, "[TOOL_CALLS]", "stop"))


def test_call_ids_differ() -> None:
    assert len({new_call_id() for _ in range(1000)}) == 1000
