"""The default model's tokenizer: Tekken's first few thousand merges, in the v13 instruction format.

The vocabulary comes from the file that mistral-common ships (`tekken_240911.json`, Apache-2.0). Tekken ranks its
merges by frequency, so the head of the list is a smaller tokenizer of the same family.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mistral_common
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

VOCAB_SIZE = 4096
NUM_SPECIAL_TOKENS = 64
PATCH_SIZE = 14
PUBLISHED_IDS = {32: "[ARGS]", 33: "[CALL_ID]"}
"""Special tokens beyond the first twenty, at the ids of Mistral's own v13 tokenizers."""


def write_tokenizer(path: Path, *, max_image_size: int, version: str = "v13", vocab_size: int = VOCAB_SIZE) -> None:
    """Write a truncated `tekken.json` to `path`."""
    source = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    tekken: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    kept = vocab_size - NUM_SPECIAL_TOKENS
    tekken["vocab"] = tekken["vocab"][:kept]
    tekken["special_tokens"] = special_tokens(NUM_SPECIAL_TOKENS)
    tekken["config"] |= {
        "num_vocab_tokens": kept,
        "default_vocab_size": vocab_size,
        "default_num_special_tokens": NUM_SPECIAL_TOKENS,
        "version": version,
    }
    tekken["image"] = {"image_patch_size": PATCH_SIZE, "max_image_size": max_image_size, "spatial_merge_size": 2}
    path.write_text(json.dumps(tekken), encoding="utf-8")


def special_tokens(count: int) -> list[dict[str, Any]]:
    """The list of special tokens, fillers included, as a v11 or v13 `tekken.json` carries it."""
    names = {int(token["rank"]): str(token["token_str"]) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS}
    names |= PUBLISHED_IDS
    filler = Tekkenizer.SPECIAL_TOKEN_TEMPLATE
    return [{"rank": i, "token_str": names.get(i, filler.format(id=i)), "is_control": True} for i in range(count)]
