"""Small GGUF files with random weights, and the float checkpoint that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, quants

from lineside.export.checkpoint.ggml import GGML_FORMATS
from tests.support.tokenizers import write_small_tokenizer

HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, VOCAB = 256, 512, 2, 4, 2, 1024
HEAD_DIM = HIDDEN // HEADS


@dataclass(frozen=True)
class GgufFile:
    path: Path
    floats: dict[str, npt.NDArray[np.float32]]


def random_blocks(kind: str, rows: int, columns: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Random integers with sane scales: every byte at random, then the float16 fields overwritten."""
    form = GGML_FORMATS[kind]
    raw = rng.integers(0, 256, (rows * columns // form.weights, form.bytes), dtype=np.uint8)
    places = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "Q4_1": (0, 2), "Q5_1": (0, 2)}.get(kind, (0,))
    levels = 2 ** (8 if kind in ("Q8_0", "Q6_K") else 4) * (32 if kind in ("Q4_K", "Q5_K", "Q6_K") else 1)
    for place in places:
        scale = rng.uniform(0.5, 1.0, len(raw)) * 2 / levels / np.sqrt(columns) * rng.choice([-1, 1], len(raw))
        if kind.endswith("_K") or place:
            scale = np.abs(scale)
        if place == 2 and kind.endswith("_1"):
            scale = -scale * levels / 2  # the minimum of a block that is centred
        raw[:, place : place + 2] = scale.astype(np.float16).view(np.uint8).reshape(-1, 2)
    return raw.reshape(rows, -1)


def write_gguf(
    folder: Path, kinds: dict[str, str], *, tied: bool = False, seed: int = 0, tokens: Sequence[str] = ()
) -> GgufFile:
    """A llama-architecture file whose matrices have the types `kinds` names (by suffix; Q8_0 where it does not)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    if tokens:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(list(tokens))
        writer.add_token_types([1] * len(tokens))
    shapes = {"token_embd": (VOCAB, HIDDEN)} | ({} if tied else {"output": (VOCAB, HIDDEN)})
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_q": (HIDDEN, HIDDEN),
            f"blk.{layer}.attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
            f"blk.{layer}.attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
            f"blk.{layer}.attn_output": (HIDDEN, HIDDEN),
            f"blk.{layer}.ffn_gate": (FFN, HIDDEN),
            f"blk.{layer}.ffn_up": (FFN, HIDDEN),
            f"blk.{layer}.ffn_down": (HIDDEN, FFN),
        }
    floats: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in shapes.items():
        kind = next((kind for suffix, kind in kinds.items() if name.endswith(suffix)), "Q8_0")
        raw = random_blocks(kind, *shape, rng)
        number = GGMLQuantizationType[kind]
        floats[f"{name}.weight"] = np.asarray(quants.dequantize(raw, number), dtype=np.float32)
        writer.add_tensor(f"{name}.weight", raw, raw_dtype=number)
    norms = ["output_norm", *(f"blk.{i}.{part}_norm" for i in range(LAYERS) for part in ("attn", "ffn"))]
    for name in norms:
        floats[f"{name}.weight"] = rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32)
        writer.add_tensor(f"{name}.weight", floats[f"{name}.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_small_tokenizer(folder / "tekken.json", "v13")
    return GgufFile(path, floats)
