"""A tekken.json that is none is refused in one short sentence, whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.runtime.errors import BundleFormat
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.tokenizers import write_small_tokenizer


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: [],
        lambda _: {},
        lambda parts: parts | {"config": 7},
        lambda parts: parts | {"vocab": 7},
        lambda parts: parts | {"vocab": parts["vocab"][:10]},
        lambda parts: parts | {"special_tokens": None},
        lambda parts: parts | {"image": 7},
        lambda parts: parts | {"image": {"unknown": 1}},
        lambda parts: parts | {"config": parts["config"] | {"default_vocab_size": "many"}},
        lambda parts: parts | {"config": parts["config"] | {"version": "x" * 60_000}},
    ],
)
def test_the_sentence_is_short(tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    path = tmp_path / "tekken.json"
    write_small_tokenizer(path)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(BundleFormat, match="not a Tekken tokenizer file") as raised:
        Tokenizer(path)
    assert len(str(raised.value)) < 300 + len(str(path))
    assert "\n" not in str(raised.value)
