"""The parity cases as checkpoint folders, tokenizer included."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.tokenizers import write_small_tokenizer

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = ("grouped", "tied", "wide_heads", "gelu_bias")


def copy_checkpoint(case: str, folder: Path, version: str = "v13") -> Path:
    """A parity case as a complete checkpoint folder."""
    target = folder / case
    shutil.copytree(GOLDEN / case, target, ignore=shutil.ignore_patterns("expected.npz"))
    write_small_tokenizer(target / "tekken.json", version)
    return target
