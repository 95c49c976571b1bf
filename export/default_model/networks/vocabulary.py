"""The default model's tokenizer: the first merges of SmolLM2's vocabulary, in the v13 instruction format.

Byte-level BPE ranks its merges by frequency, so the head of the list is a smaller tokenizer of the same family, and
its rows of the embedding table stay good.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from lineside.export.default_model.networks.base import SmolLM2
from lineside.export.default_model.networks.size import MERGE, PATCH_SIZE

VOCAB_SIZE = 10240
NUM_SPECIAL_TOKENS = 64
PUBLISHED_IDS = {32: "[ARGS]", 33: "[CALL_ID]"}
"""Special tokens beyond the first twenty, at the ids of Mistral's own v13 tokenizers."""
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
"""GPT-2's pattern with single digits, as SmolLM2 splits."""


def write_tokenizer(path: Path, base: SmolLM2, *, max_image_size: int, vocab_size: int = VOCAB_SIZE) -> None:
    """Write a `tekken.json` to `path`."""
    pieces = base.pieces[: vocab_size - NUM_SPECIAL_TOKENS]
    tekken: dict[str, Any] = {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(pieces),
            "default_vocab_size": vocab_size,
            "default_num_special_tokens": NUM_SPECIAL_TOKENS,
            "version": "v13",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
            for rank, piece in enumerate(pieces)
        ],
        "special_tokens": special_tokens(NUM_SPECIAL_TOKENS),
        "image": {"image_patch_size": PATCH_SIZE, "max_image_size": max_image_size, "spatial_merge_size": MERGE},
    }
    path.write_text(json.dumps(tekken, separators=(",", ":")), encoding="utf-8")


def special_tokens(count: int) -> list[dict[str, Any]]:
    """The list of special tokens, fillers included, as a v11 or v13 `tekken.json` carries it."""
    names = {int(token["rank"]): str(token["token_str"]) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS}
    names |= PUBLISHED_IDS
    filler = Tekkenizer.SPECIAL_TOKEN_TEMPLATE
    return [{"rank": i, "token_str": names.get(i, filler.format(id=i)), "is_control": True} for i in range(count)]
