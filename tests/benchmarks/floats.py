"""SmolLM2's weights as floats: the 4-bit ones of the GGUF file, dithered inside their steps to continuous values.

Rounding a file that is rounded already measures nothing: its own grid is still in it. A uniform number of half a step
to either side, from a fixed seed, takes the grid away, and the model stays what it was as far as 4 bits say.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, GGUFWriter, dequantize
from gguf.constants import GGUFValueType, LlamaFileType

from lineside.export.checkpoint.matrices import half_split

SEED = 0
BLOCK, STEPS = 32, 15
ORDER = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""In which a layer's matrices draw their numbers."""
Float32 = npt.NDArray[np.float32]


def write_floats(rounded: Path, target: Path) -> Path:
    """Write the GGUF file `rounded`, of a Llama, with float32 weights to `target`, unless it is there."""
    if target.exists():
        return target
    reader: Any = GGUFReader(rounded)
    partial = target.with_suffix(".partial")
    writer = GGUFWriter(partial, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(LlamaFileType.ALL_F32)
    weights = dithered({tensor.name: floats_of(tensor) for tensor in reader.tensors}, heads_of(reader))
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, target)
    return target


def floats_of(tensor: Any) -> Float32:
    """A tensor of a GGUF file, whatever it is rounded to."""
    return np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)


def heads_of(reader: Any) -> dict[str, int]:
    """Heads of the matrices whose rows llama.cpp stores in the order of interleaved rotary embedding."""
    count = {"attn_q": "head_count", "attn_k": "head_count_kv"}
    return {name: int(reader.get_field(f"llama.attention.{key}").contents()) for name, key in count.items()}


def dithered(weights: dict[str, Float32], heads: dict[str, int]) -> dict[str, Float32]:
    """The same with the layers' matrices moved inside their steps; numbers are drawn in the order of
    Hugging Face's rows.
    """
    numbers = np.random.default_rng(SEED)
    moved = dict(weights)
    layers = sum(name.endswith("attn_q.weight") for name in weights)
    for layer in range(layers):
        for part in ORDER:
            name = f"blk.{layer}.{part}.weight"
            weight = weights[name]
            order = half_split(len(weight), heads[part]) if part in heads else np.arange(len(weight))
            blocks = weight[order].reshape(-1, BLOCK)
            step = (blocks.max(1, keepdims=True) - blocks.min(1, keepdims=True)) / STEPS
            values = blocks + step * numbers.uniform(-0.5, 0.5, blocks.shape)
            moved[name] = np.empty_like(weight)
            moved[name][order] = values.astype(np.float32).reshape(weight.shape)
    return moved
