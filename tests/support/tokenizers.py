"""Small Tekken tokenizers in each instruction format, from mistral-common's own vocabulary."""

from __future__ import annotations

from pathlib import Path

from export.default_model.vocabulary import write_tokenizer

VOCAB_SIZE = 640


def write_small_tokenizer(path: Path, version: str = "v13") -> None:
    """A `tekken.json` of `VOCAB_SIZE` tokens for pictures up to 224 pixels."""
    write_tokenizer(path, max_image_size=224, version=version, vocab_size=VOCAB_SIZE)
