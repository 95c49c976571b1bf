"""What Magistral thinks is kept apart from what it answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lineside.export.bundle.writer import export_bundle
from lineside.runtime.assistant import Answer, stream
from lineside.runtime.chat import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.text.call_stream import CallDelta, CallStream, TextDelta, ThoughtDelta
from lineside.runtime.text.canonical import CallIds
from lineside.runtime.text.thoughts import split_thoughts
from lineside.runtime.text.tokenizer import Tokenizer
from tests.golden.family import write_member
from tests.support.tokenizers import write_small_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("thinks") / "tekken.json"
    write_small_tokenizer(path, thinks=True)
    return Tokenizer(path)


def written(tokenizer: Tokenizer, *parts: str) -> list[int]:
    """Parts in brackets are special tokens."""
    ids: list[int] = []
    for part in parts:
        special = tokenizer.special_id(part)
        ids += [special] if special is not None else tokenizer.encode_text(part).tolist()
    return ids


@pytest.mark.parametrize(
    ("parts", "thought", "text"),
    [
        (("[THINK]", "Is it red?", "[/THINK]", "Yes."), "Is it red?", "Yes."),
        (("Well.", "[THINK]", "So.", "[/THINK]", "Yes."), "So.", "Well.Yes."),
        (("[THINK]", "cut off"), "cut off", ""),
        (("[/THINK]", "Yes."), "", "Yes."),
        (("Yes.",), "", "Yes."),
        (("[THINK]", "größe 🛑", "[/THINK]", "ja"), "größe 🛑", "ja"),
    ],
)
def test_a_thought_is_no_part_of_the_answer(
    tokenizer: Tokenizer, parts: tuple[str, ...], thought: str, text: str
) -> None:
    ids = written(tokenizer, *parts)
    own, thoughts = split_thoughts(tokenizer, ids)
    assert (tokenizer.decode(own), tokenizer.decode(thoughts)) == (text, thought)
    deltas = CallStream(tokenizer, CallIds())
    pieces = [piece for token in ids for piece in deltas.push(token)] + list(deltas.finish())
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == text
    assert "".join(piece.text for piece in pieces if isinstance(piece, ThoughtDelta)) == thought


def test_a_call_ends_a_thought(tokenizer: Tokenizer) -> None:
    ids = written(tokenizer, "[THINK]", "Stop it.", "[TOOL_CALLS]", "stop_line", "[ARGS]", "{}")
    own, thoughts = split_thoughts(tokenizer, ids)
    assert tokenizer.decode(thoughts) == "Stop it."
    assert own[0] == tokenizer.tool_calls_id
    deltas = CallStream(tokenizer, CallIds())
    pieces = [piece for token in ids for piece in deltas.push(token)]
    assert [piece.name for piece in pieces if isinstance(piece, CallDelta)] == ["stop_line"]
    assert not any(isinstance(piece, TextDelta) for piece in pieces)


def test_vocabularies_without_these_tokens_have_no_thoughts(tmp_path: Path) -> None:
    write_small_tokenizer(tmp_path / "tekken.json")
    tokenizer = Tokenizer(tmp_path / "tekken.json")
    assert tokenizer.thought_ids == (None, None)
    assert split_thoughts(tokenizer, [5, 100, 200]) == ((5, 100, 200), ())


def test_an_answer_has_its_thought_beside_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine writes a script here; what becomes of it is the assistant's doing."""
    folder = write_member("text", tmp_path / "model")
    write_small_tokenizer(folder / "tekken.json", thinks=True)
    engine = Engine.open(export_bundle(folder, tmp_path / "bundle"), threads=1)
    script = iter([*written(engine.tokenizer, "[THINK]", "Is it red?", "[/THINK]", "Yes."), engine.tokenizer.eos_id])
    monkeypatch.setattr("lineside.runtime.engine.sampling.Sampler.pick", lambda *_arguments: next(script))
    pieces = stream(engine, [Message("user", ("Is the lamp red?",))], max_tokens=40)
    found = [type(piece) for piece in pieces]
    answer = pieces.answer
    assert isinstance(answer, Answer)
    assert (answer.thought, answer.text, answer.finish_reason) == ("Is it red?", "Yes.", "stop")
    assert {TextDelta, ThoughtDelta} == set(found)
    assert dataclasses.replace(answer, thought="").message() == answer.message()
    assert np.asarray(answer.ids[:1]).tolist() == [engine.tokenizer.thought_ids[0]]
