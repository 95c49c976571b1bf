"""The network in floats against transformers, on the stored cases (see tests/golden/make_parity.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineside.export.bundle.checks import image_settings
from lineside.export.calibration.float_ops import Passage
from lineside.export.calibration.float_run import embed_patches, read_passages
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.runtime.patches import to_patches
from lineside.runtime.sessions.selftest import relative_error
from lineside.runtime.text.tokenizer import Tokenizer
from tests.golden.prompts import PROMPTS, prompts
from tests.support.checkpoints import CASES, GOLDEN, copy_checkpoint

TOLERANCE = 1e-4


@pytest.mark.parametrize("label", CASES)
def test_all_passages_at_once_agree_with_transformers(label: str, tmp_path: Path) -> None:
    checkpoint = copy_checkpoint(label, tmp_path)
    source, network = open_checkpoint(checkpoint)
    tokenizer = Tokenizer(checkpoint / "tekken.json")
    passages, expected = [], []
    with np.load(GOLDEN / label / "expected.npz") as stored:
        for name in PROMPTS:
            prompt = prompts(tokenizer)[name]
            embeds = []
            for pixels in prompt.pixels:
                assert network.vision is not None
                patches, positions = to_patches(pixels, image_settings(network.vision, tokenizer))
                embeds.append(embed_patches(source, network, patches, positions))
            ids = np.concatenate([prompt.ids, stored[f"{name}.steps"]])
            passages.append(Passage(ids, np.concatenate(embeds) if embeds else None))
            expected.append((len(prompt.ids) - 1, stored[f"{name}.logits"]))
    logits = read_passages(source, network, tuple(passages)).logits
    start = 0
    for passage, (at, wanted) in zip(passages, expected, strict=True):
        own = logits[start + at : start + at + len(wanted)]
        assert relative_error(own, wanted) < TOLERANCE
        start += len(passage.ids)
