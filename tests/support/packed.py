"""The family's text-only checkpoint as GPTQ, AWQ and compressed-tensors store it, and the floats that it stands for."""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from tests.golden.family import MEMBERS, Tensors, weights
from tests.support.tokenizers import write_small_tokenizer

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight rows lies where in a word, from the lowest bits."""
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rounded:
    """`(q - zeros) * scales` with `q` `(N, K)`, the others `(N, K / group)`."""

    q: Ints
    scales: npt.NDArray[np.float16]
    zeros: Ints

    def floats(self, group: int) -> npt.NDArray[np.float32]:
        wide = [np.repeat(part.astype(np.float32), group, axis=1) for part in (self.zeros, self.scales)]
        return ((self.q - wide[0]) * wide[1]).astype(np.float32)


def rounded(values: npt.NDArray[Any], name: str, group: int, bits: int, *, symmetric: bool) -> Rounded:
    rows, columns = values.shape
    blocks = values.astype(np.float32).reshape(rows, columns // group, group)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    middle = 2 ** (bits - 1)
    zeros = np.full(blocks.shape[:2], middle)
    if not symmetric:
        zeros = rng.integers(max(1, middle - 3), middle + 4, blocks.shape[:2])
    scales = (np.abs(blocks).max(-1) / (middle - 4)).astype(np.float16)
    q = np.clip(np.rint(blocks / scales[..., None].astype(np.float32)) + zeros[..., None], 0, 2**bits - 1)
    return Rounded(q.reshape(rows, columns).astype(np.int64), scales, zeros)


def words(values: Ints, bits: int, axis: int) -> npt.NDArray[np.int32]:
    """Values along `axis`, so many in a word, the first in the lowest bits."""
    many = 32 // bits
    moved = np.moveaxis(values, axis, -1)
    split = moved.reshape(*moved.shape[:-1], -1, many).astype(np.uint32)
    packed = np.bitwise_or.reduce(split << (np.arange(many, dtype=np.uint32) * bits), axis=-1)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis)).view(np.int32)


def by_awq(values: Ints) -> npt.NDArray[np.int32]:
    """`(K, N)` to AWQ's `(K, N / 8)`."""
    shuffled = values.reshape(len(values), -1, 8)[..., AWQ_ORDER].reshape(values.shape)
    return words(shuffled, 4, 1)


def stored(matrix: Rounded, layout: str, bits: int, group: int, *, symmetric: bool) -> Tensors:
    """The tensors of one matrix by the last part of their names."""
    rows, columns = matrix.q.shape
    if layout == "awq":
        return {"qweight": by_awq(matrix.q.T), "qzeros": by_awq(matrix.zeros.T),
                "scales": np.ascontiguousarray(matrix.scales.T)}  # fmt: skip
    if layout in ("gptq", "gptq_v2"):
        return {
            "qweight": words(matrix.q.T, bits, 0),
            "qzeros": words(matrix.zeros.T - (layout == "gptq"), bits, 1),
            "scales": np.ascontiguousarray(matrix.scales.T),
            "g_idx": (np.arange(columns) // group).astype(np.int32),
        }
    found: Tensors = {
        "weight_packed": words(matrix.q, bits, 1),
        "weight_scale": matrix.scales,
        "weight_shape": np.asarray([rows, columns], np.int64),
    }
    return found if symmetric else found | {"weight_zero_point": words(matrix.zeros, bits, 0)}


def quantization(layout: str, bits: int, group: int, *, symmetric: bool) -> dict[str, Any]:
    if layout == "awq":
        return {"bits": bits, "group_size": group, "quant_method": "awq", "version": "gemm", "zero_point": True}
    if layout in ("gptq", "gptq_v2"):
        return {"bits": bits, "checkpoint_format": layout, "desc_act": False, "group_size": group, "lm_head": False,
                "pack_dtype": "int32", "quant_method": "gptq", "sym": symmetric}  # fmt: skip
    how: dict[str, Any] = {
        "actorder": None, "dynamic": False, "group_size": group, "num_bits": bits, "observer": "minmax",
        "observer_kwargs": {}, "strategy": "group", "symmetric": symmetric, "type": "int",
    }  # fmt: skip
    group_0 = {"input_activations": None, "output_activations": None, "targets": ["Linear"], "weights": how}
    return {"config_groups": {"group_0": group_0}, "format": "pack-quantized", "ignore": ["lm_head"],
            "kv_cache_scheme": None, "quant_method": "compressed-tensors",
            "quantization_status": "compressed"}  # fmt: skip


def write_packed(folder: Path, layout: str, group: int, *, bits: int = 4, symmetric: bool = False) -> Path:
    """A checkpoint whose layers are rounded; beside it `{folder}-floats` with the floats that it stands for."""
    member = MEMBERS["text"]
    config = copy.deepcopy(member.config)
    tensors, floats = weights(member), weights(member)
    for name in list(tensors):
        if ".layers." in name and tensors[name].ndim == 2:
            matrix = rounded(tensors.pop(name), name, group, bits, symmetric=symmetric)
            parts = stored(matrix, layout, bits, group, symmetric=symmetric)
            tensors |= {f"{name.removesuffix('weight')}{leaf}": array for leaf, array in parts.items()}
            floats[name] = matrix.floats(group)
    for path, values in ((folder, tensors), (folder.with_name(f"{folder.name}-floats"), floats)):
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(config))
        save_file(values, path / "model.safetensors")
        write_small_tokenizer(path / "tekken.json")
    config["quantization_config"] = quantization(layout, bits, group, symmetric=symmetric)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
