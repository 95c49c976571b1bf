"""The two numbers that are read without a tokenizer are those that it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.runtime.errors import BundleFormat
from lineside.runtime.text.tokenizer import Tokenizer
from lineside.runtime.text.vocabulary import TokenizerLater, read_vocabulary
from tests.support.tokenizers import write_small_tokenizer


def write(path: Path, version: str, change: Callable[[dict[str, Any]], object]) -> None:
    write_small_tokenizer(path, version)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def named_last(parts: dict[str, Any]) -> dict[str, Any]:
    """The end token has another id."""
    tokens = parts["special_tokens"]
    tokens[2]["token_str"], tokens[40]["token_str"] = "<SPECIAL_40>", "</s>"
    return parts


@pytest.mark.parametrize("version", ["v3", "v7", "v11", "v13"])
@pytest.mark.parametrize("change", [dict, named_last])
def test_the_numbers_are_the_tokenizer_s(
    version: str, change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    write(path := tmp_path / "tekken.json", version, change)
    made = Tokenizer(path)
    later = TokenizerLater(path)
    assert read_vocabulary(path) == later.numbers() == (made.vocab_size, made.eos_id)
    assert later.numbers() == (later.made().vocab_size, later.made().eos_id)


@pytest.mark.parametrize("version", ["v3", "v7"])
def test_an_older_file_names_no_special_tokens(version: str, tmp_path: Path) -> None:
    write(path := tmp_path / "tekken.json", version, lambda parts: parts | {"special_tokens": None})
    made = Tokenizer(path)
    assert read_vocabulary(path) == (made.vocab_size, made.eos_id)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [],
        lambda _: {},
        lambda parts: parts | {"config": 7},
        lambda parts: parts | {"config": parts["config"] | {"default_vocab_size": "many"}},
        lambda parts: parts | {"special_tokens": [{"rank": 0, "token_str": "<unk>"}]},
    ],
)
def test_what_is_no_tokenizer_is_refused(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    write(path := tmp_path / "tekken.json", "v13", change)
    with pytest.raises(BundleFormat, match="not a Tekken tokenizer file"):
        read_vocabulary(path)
    with pytest.raises(BundleFormat, match="not a Tekken tokenizer file"):
        TokenizerLater(path).made()
