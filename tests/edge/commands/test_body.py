"""What was meant as JSON is never taken for a sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.commands.body import parse_ask, transaction
from lineside.edge.errors import RequestError

WHOLE = '{"text": "stop the line", "tool_choice": "none"}'


@pytest.mark.parametrize(
    "payload",
    [
        '{"text":"stop the line","tool_choice":"none",}',
        '{"text":"stop the line","expires_at":"2020-01-01T00:00:00Z",}',
        "{text:stop the line,tool_choice:none}",
        "{text: stop}",
        "{'text': 'stop the line', 'tool_choice': 'none'}",
        '["stop the line"]',
        '"stop the line"',
        json.dumps(WHOLE),
        json.dumps({"text": WHOLE}),
        json.dumps({"text": f" {WHOLE} "}),
        f"'{WHOLE}'",
        f"'{WHOLE}",
        f"`{WHOLE}`",
        "\\" + WHOLE.replace('"', '\\"'),
        f"({WHOLE})",
        f"{WHOLE} {WHOLE}",
        f"{WHOLE} and hurry",
        WHOLE[:-1],
        WHOLE[1:],
        WHOLE[:20],
        '{"text": "stop the line", "max_tokens": NaN}',
        '{"text": "stop the line", "text": "start the line"}',
        '{"text": "stop the line", "tool_choice": "none", "tool_choice": "auto"}',
        "// stop\n" + WHOLE,
        "[object Object]",
        "NaN",
        "null",
        "true",
        "1e999",
        "﻿",
        "﻿" + WHOLE[:-1],
    ],
)
def test_broken_json_is_malformed(payload: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_ask(payload.encode())
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_json_in_another_encoding_is_malformed(encoding: str) -> None:
    with pytest.raises(RequestError):
        parse_ask(WHOLE.encode(encoding))


def test_a_byte_order_mark_is_read_past() -> None:
    for text in (WHOLE, "stop the line"):
        assert parse_ask(text.encode("utf-8-sig")) == parse_ask(text.encode())
    marked = '{"text": "stop", "transaction": "t-1"}'.encode("utf-8-sig")
    assert (parse_ask(marked).transaction, transaction(marked)) == ("t-1", "t-1")


@pytest.mark.parametrize(
    "text",
    [
        "stop the line",
        'say "stop" to the line',
        "it's too fast (stop it)",
        "'s morgens de band aan",
        "zone [3] is full",
        "42 percent",
        "42",
        "-1.5",
        "set {belt} to 50 percent",
    ],
)
def test_a_sentence_is_a_sentence(text: str) -> None:
    assert parse_ask(text.encode()).text == text


@given(st.text(max_size=40), st.sampled_from(['{"', "[1,", '"', "{"]))
def test_nothing_that_begins_like_json_is_a_sentence(rest: str, beginning: str) -> None:
    try:
        text = parse_ask((beginning + rest).encode("utf-8", "replace")).text
    except RequestError:
        return
    assert json.loads(beginning + rest)["text"] == text
