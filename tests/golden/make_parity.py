"""Make the parity cases: small random Mistral3 checkpoints and what transformers computes for them.

    python -m tests.golden.make_parity        (needs the `train` extra: torch and transformers)

Each case is a folder beside this file: a checkpoint (bfloat16, sharded where the case says so) without its tokenizer,
which `tests.support.tokenizers` builds, and `expected.npz` with prompts, pictures and logits.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

from lineside.runtime.chat import Prompt
from lineside.runtime.text.tokenizer import Tokenizer
from tests.golden.prompts import prompts
from tests.support.tokenizers import VOCAB_SIZE, write_small_tokenizer

HERE = Path(__file__).parent
STEPS = 6


@dataclass(frozen=True)
class Case:
    """What differs between cases; the rest is in `config`."""

    name: str
    text: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    tied: bool = False
    shard_size: str = "5GB"


CASES = (
    Case("grouped", {"num_key_value_heads": 2}, shard_size="150KB"),
    Case("tied", {"num_key_value_heads": 1}, tied=True),
    Case("wide_heads", {"num_key_value_heads": 4, "head_dim": 32,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 1e9}}),
    Case("gelu_bias", {}, {"hidden_act": "gelu", "num_hidden_layers": 3},
         {"multimodal_projector_bias": True, "vision_feature_layer": -2}),
)  # fmt: skip


def config(case: Case) -> Mistral3Config:
    text = {
        "model_type": "mistral", "vocab_size": VOCAB_SIZE, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "sliding_window": None, "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "tie_word_embeddings": case.tied,
    } | case.text  # fmt: skip
    vision = {
        "model_type": "pixtral", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 2, "head_dim": 32, "patch_size": 14, "image_size": 224, "hidden_act": "silu",
        "rope_parameters": {"rope_type": "axial", "rope_theta": 1e4},
    } | case.vision  # fmt: skip
    return Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=10, tie_word_embeddings=case.tied, **case.top
    )


def expected(model: Any, prompt: Prompt, steps: np.ndarray) -> np.ndarray:
    """Last-position logits after the prompt and after each further token, `(1 + steps, vocab)`."""
    inputs: dict[str, Any] = {}
    if prompt.pixels:
        sizes = [picture.shape[1:] for picture in prompt.pixels]
        height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
        padded = np.zeros((len(sizes), 3, height, width), np.float32)
        for row, picture in enumerate(prompt.pixels):
            padded[row, :, : picture.shape[1], : picture.shape[2]] = picture
        inputs = {"pixel_values": torch.from_numpy(padded), "image_sizes": torch.tensor(sizes)}
    ids = torch.from_numpy(np.concatenate([prompt.ids, steps]))[None]
    with torch.no_grad():
        logits = model(input_ids=ids, **inputs).logits[0]
    return np.asarray(logits[len(prompt.ids) - 1 :].numpy(), dtype=np.float32)


def make(case: Case, tokenizer: Tokenizer) -> None:
    torch.manual_seed(len(case.name))
    model = Mistral3ForConditionalGeneration(config(case))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_pre" in name:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            else:
                parameter.normal_(0, 0.12)
            parameter.copy_(parameter.to(torch.bfloat16))
    folder = HERE / case.name
    shutil.rmtree(folder, ignore_errors=True)
    # A copy is rounded: the rotary frequencies of the reference must stay exact.
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder, max_shard_size=case.shard_size)
    model = model.to(torch.float64).eval()
    (folder / "generation_config.json").unlink(missing_ok=True)
    rng = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    for name, prompt in prompts(tokenizer).items():
        steps = rng.integers(64, VOCAB_SIZE, size=STEPS).astype(np.int64)
        arrays |= {f"{name}.ids": prompt.ids, f"{name}.steps": steps, f"{name}.logits": expected(model, prompt, steps)}
    np.savez_compressed(folder / "expected.npz", **arrays)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tekken.json"
        write_small_tokenizer(path)
        tokenizer = Tokenizer(path)
        for case in CASES:
            make(case, tokenizer)


if __name__ == "__main__":
    main()
