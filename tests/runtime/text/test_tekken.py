"""The tokenizer that is made quickly is mistral-common's own, part for part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from lineside.runtime.text.tekken import MODE, QuickTekkenizer, read_mistral
from tests.support.tokenizers import write_small_tokenizer


@pytest.mark.parametrize("version", ["v3", "v7", "v11", "v13"])
def test_it_has_the_parts_of_mistral_common_s(version: str, tmp_path: Path) -> None:
    write_small_tokenizer(path := tmp_path / "tekken.json", version)
    ours: Any = read_mistral(path)
    theirs: Any = MistralTokenizer.from_file(path, mode=MODE)
    assert isinstance(ours.instruct_tokenizer.tokenizer, QuickTekkenizer)
    for part in ("instruct_tokenizer", "_chat_completion_request_validator", "_instruct_request_normalizer"):
        assert type(getattr(ours, part)) is type(getattr(theirs, part))
    assert ours.mode == theirs.mode
    images = ours.instruct_tokenizer.image_encoder, theirs.instruct_tokenizer.image_encoder
    assert images[0].image_config == images[1].image_config
    assert images[0].special_ids == images[1].special_ids


def test_the_vocabulary_is_spelt_when_it_is_asked_for(tmp_path: Path) -> None:
    write_small_tokenizer(path := tmp_path / "tekken.json")
    ours = read_mistral(path).instruct_tokenizer.tokenizer
    theirs = MistralTokenizer.from_file(path, mode=MODE).instruct_tokenizer.tokenizer
    assert not any(ours._vocab)
    assert ours.vocab() == theirs.vocab()
    assert [ours.id_to_piece(token) for token in range(ours.n_words)] == theirs.vocab()
