"""Small Tekken tokenizers in each instruction format, from the head of mistral-common's own vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mistral_common

from lineside.export.default_model.networks.vocabulary import NUM_SPECIAL_TOKENS, special_tokens

VOCAB_SIZE = 640


def write_small_tokenizer(
    path: Path,
    version: str = "v13",
    vocab_size: int = VOCAB_SIZE,
    max_image_size: int = 224,
    merge: int = 2,
    *,
    thinks: bool = False,
) -> None:
    """A `tekken.json` of `vocab_size` tokens for pictures up to `max_image_size` pixels, `merge` patches a token.

    With `thinks`, it has Magistral's tokens around a thought, at their published ids.
    """
    source = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    tekken: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    kept = vocab_size - NUM_SPECIAL_TOKENS
    tekken["vocab"] = tekken["vocab"][:kept]
    tekken["special_tokens"] = special_tokens(NUM_SPECIAL_TOKENS)
    if thinks:
        for rank, text in ((34, "[THINK]"), (35, "[/THINK]")):
            tekken["special_tokens"][rank]["token_str"] = text
    tekken["config"] |= {
        "num_vocab_tokens": kept,
        "default_vocab_size": vocab_size,
        "default_num_special_tokens": NUM_SPECIAL_TOKENS,
        "version": version,
    }
    tekken["image"] = {"image_patch_size": 14, "max_image_size": max_image_size, "spatial_merge_size": merge}
    path.write_text(json.dumps(tekken), encoding="utf-8")
