from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.runtime.assistant import stream
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.text.call_stream import TextDelta
from lineside.runtime.text.stream import TextStream

HELLO = [Message("user", ("Is the belt running?",))]


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=40) | st.sampled_from(["👩‍🏭 naïve größe 停止", "🇩🇪🛑🛑"]))
def test_pieces_are_whole_characters_and_add_up(default_engine: Engine, text: str) -> None:
    out = TextStream(default_engine.tokenizer)
    pieces = [out.push(int(token)) for token in default_engine.tokenizer.encode_text(text)]
    assert "".join(pieces) + out.finish() == text
    assert "\ufffd" not in "".join(pieces).replace("\ufffd" if "\ufffd" in text else "", "")


def test_an_emoji_split_over_tokens_comes_out_once(default_engine: Engine) -> None:
    tokens = default_engine.tokenizer.encode_text("🛑")
    assert len(tokens) > 1, "the small vocabulary has no token for it"
    out = TextStream(default_engine.tokenizer)
    pieces = [out.push(int(token)) for token in tokens]
    assert pieces == [""] * (len(tokens) - 1) + ["🛑"]


def test_half_a_character_at_the_end_is_marked(default_engine: Engine) -> None:
    out = TextStream(default_engine.tokenizer)
    assert out.push(int(default_engine.tokenizer.encode_text("🛑")[0])) == ""
    assert out.finish() == "\ufffd"


def test_a_stream_says_what_the_whole_answer_says(random_engine: Engine) -> None:
    pieces = stream(random_engine, HELLO, max_tokens=30, sampling=Sampling(2.0, 1))
    with pytest.raises(RuntimeError, match="not complete"):
        _ = pieces.answer
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
    assert text.strip() == pieces.answer.text
    assert pieces.answer.counts.generated <= 30
    assert pieces.answer.timings.decode_ms > 0
    assert pieces.answer.timings.prefill_ms > 0


def test_leaving_a_stream_ends_its_request(random_engine: Engine) -> None:
    pieces = stream(random_engine, HELLO, max_tokens=200, sampling=Sampling(2.0, 1))
    next(pieces)
    assert random_engine.pool.statistics().busy == 1
    pieces.close()
    assert random_engine.pool.statistics().busy == 0
    again = stream(random_engine, HELLO, max_tokens=30, sampling=Sampling(2.0, 1))
    assert list(again)
    assert random_engine.pool.statistics().busy == 0
