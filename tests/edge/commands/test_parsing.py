"""What the body of a command may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.edge.commands.body import parse_ask
from lineside.edge.errors import RequestError


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"stop", "stop"),
        ("Stoppe das Förderband".encode(), "Stoppe das Förderband"),
        (b'{"text": "stop", "transaction": "7"}', "stop"),
    ],
)
def test_commands_are_json_or_text(payload: bytes, text: str) -> None:
    assert parse_ask(payload).text == text


@pytest.mark.parametrize("payload", [b"", b"  \n", b"\xff\xfe\x00", b"a\x00b", b'{"txt": "stop"}', b'{"text": ""}',
                                     b'{"text": 5}', b'{"text": "x", "max_tokens": 0}'])  # fmt: skip
def test_malformed_commands(payload: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_ask(payload)
    assert caught.value.code == "malformed"


@given(st.binary(max_size=100))
def test_any_bytes_are_a_command_or_malformed(payload: bytes) -> None:
    try:
        text = parse_ask(payload).text
    except RequestError as error:
        text = error.code
    assert text


def test_a_deeply_nested_body_is_no_crash() -> None:
    for payload in (b'{"text":' + b"[" * 60_000, b"[" * 5_000):
        with pytest.raises(RequestError):
            parse_ask(payload)
