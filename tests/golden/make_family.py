"""Keep what transformers computes for the family's tiny checkpoints (`family.py`), one `family/NAME.npz` each.

    python -m tests.golden.make_family [NAME ...]        (needs the `train` extra: torch, transformers and peft)

transformers reads the folders itself and must know every tensor and miss none: so keys and names are true.
Matrices in FP8 are multiplied with their scales here, and handed over as float64.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from lineside.runtime.text.tokenizer import Tokenizer
from tests.golden.family import (
    ADAPTED,
    EVERY,
    FOLDER,
    MEMBERS,
    STEPS,
    Member,
    adapter,
    weights,
    write_adapter,
    write_member,
)
from tests.golden.make_parity import expected
from tests.golden.prompts import prompts
from tests.support.tokenizers import VOCAB_SIZE, write_small_tokenizer


def read(member: Member) -> Any:
    """The model in float64."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_member(member.name, Path(name))
        config = {key: value for key, value in member.config.items() if key != "quantization_config"}
        (folder / "config.json").write_text(json.dumps(config))
        kind = getattr(transformers, member.config["architectures"][0])
        model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        scales = {key for key in info["unexpected_keys"] if key.endswith(("_scale", "_scale_inv"))}
        assert not info["missing_keys"], info
        assert scales == set(info["unexpected_keys"]), info
        assert bool(scales) == ("quantization_config" in member.config)
    model = model.to(torch.float64)
    if "quantization_config" in member.config:
        multiply(model, member)
    return model.eval()


def multiply(model: Any, member: Member) -> None:
    """Put matrices times their scales into the model."""
    stored = weights(member)
    parameters = dict(model.named_parameters())
    for name, scale in stored.items():
        if name.endswith(".weight_scale_inv"):
            matrix = name.removesuffix("_scale_inv")
            values = stored[matrix].astype(np.float64) * scale.astype(np.float64)
            own = next(key for key in parameters if key.endswith(matrix.removeprefix("language_model.model.")))
            with torch.no_grad():
                parameters[own].copy_(torch.from_numpy(values))


def adapted(model: Any, name: str) -> Any:
    """With its adapter, as peft reads it; every tensor of it must be known."""
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as path:
        model = PeftModel.from_pretrained(model, str(write_adapter(name, Path(path))))
    own = {key.removesuffix(".weight") for key in adapter(MEMBERS[ADAPTED[name]])}
    assert own == {key.removesuffix(".default.weight") for key in model.state_dict() if ".lora_" in key}
    return model.to(torch.float64).eval()


def make(name: str) -> None:
    member = MEMBERS[ADAPTED.get(name, name)]
    model = read(member)
    if name in ADAPTED:
        model = adapted(model, name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tekken.json"
        write_small_tokenizer(path, merge=member.merge or 2)
        tokenizer = Tokenizer(path)
    rng = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    for label, prompt in prompts(tokenizer).items():
        if label not in member.prompts:
            continue
        steps = rng.integers(64, VOCAB_SIZE, size=STEPS).astype(np.int64)
        logits = expected(model, prompt, steps)[:, ::EVERY]
        arrays |= {f"{label}.ids": prompt.ids, f"{label}.steps": steps, f"{label}.logits": logits}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)


if __name__ == "__main__":
    for each in sys.argv[1:] or (*MEMBERS, *ADAPTED):
        make(each)
