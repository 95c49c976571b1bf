"""What a question with pictures may say."""

from __future__ import annotations

import json

import pytest

from lineside.edge.commands.body import parse_ask
from lineside.edge.errors import RequestError


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"cameras": ["door", "door"]}, "names one twice"),
        ({"cameras": ["door", "yard"], "frames": 2, "over_s": 1}, "of one camera"),
        ({"cameras": ["door"], "frames": 3}, "over `over_s` seconds"),
        ({"cameras": ["door"], "over_s": 3}, "of several `frames`"),
        ({"snapshot": True}, "there are none"),
        ({"cameras": ["door"], "tool_choice": "required"}, "calls nothing"),
        ({"schema": {}, "tool_choice": "open_garage"}, "calls nothing"),
        ({"cameras": ["door"], "max_side": 100}, "max_side"),
        ({"cameras": ["door"], "frames": 17, "over_s": 1}, "frames"),
        ({"image": {"path": "a.jpg"}}, "sha256"),
        ({"cameras": "door"}, "cameras"),
    ],
)
def test_what_makes_no_sense_is_malformed(body: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=said) as refused:
        parse_ask(json.dumps({"text": "who is there?", **body}).encode())
    assert refused.value.code == "malformed"


@pytest.mark.parametrize("body", [{"cameras": ["door"]}, {"image": "QUJD"}, {"schema": {"type": "object"}}])
def test_pictures_and_schemas_make_a_question(body: dict[str, object]) -> None:
    assert parse_ask(json.dumps({"text": "who is there?", **body}).encode()).is_question


def test_a_sentence_is_none() -> None:
    assert not parse_ask(b'{"text": "stop the line"}').is_question
