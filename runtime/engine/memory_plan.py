"""How much memory a bundle needs, from its manifest alone.

The shapes are exact; the factors were measured with ONNX Runtime 1.32 on x86-64 and hold for its CPU sessions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from lineside.runtime.engine.sequence import Chunking
from lineside.runtime.manifest import CARRIED_OVER, NO_ROUNDING, Manifest, Quantizer
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS

PROCESS_BYTES = 144_000_000
"""Python, numpy, ONNX Runtime, mistral-common and llguidance, loaded and run once."""
BYTES_PER_VOCABULARY_ENTRY = 1_200
"""Tokenizer and grammar engine keep every token several times over."""
RESIDENT_FACTOR = 1.14
"""Matrices with float32 scales over their file: ONNX Runtime packs them anew, with a sum for each block. Scales in
the file are not read again, and leave the memory where it is short. Of float16 ones it makes float32 ones when it
loads, which stay."""
BLOCK_SIZE = 32
"""Where a bundle does not say it."""
TOWER_FACTOR = 2
"""The tower's allocator grows in powers of two."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of each part. The KV cache is for the number of tokens that was planned for."""

    parts: dict[str, int]
    kv_bytes: int
    kv_bytes_per_token: int

    @property
    def total_bytes(self) -> int:
        return sum(self.parts.values())

    def largest_context(self, device_bytes: int) -> int:
        """Tokens of KV cache that fit a device; 0 where not even the weights do."""
        return max(0, (device_bytes - self.total_bytes + self.kv_bytes) // self.kv_bytes_per_token)


def plan_memory(manifest: Manifest, tokens: int) -> MemoryPlan:
    """The peak of a process that serves `tokens` tokens of KV cache and pictures of the largest size."""
    per_token, own = manifest.kv.bytes_per_token, _model_parts(manifest, tokens)
    parts = {
        "process": PROCESS_BYTES + vocabulary_bytes(manifest),
        "weights": own.pop("weights"),
        f"KV cache, {tokens} tokens of {per_token} bytes": tokens * per_token,
    }
    return MemoryPlan(parts | own, tokens * per_token, per_token)


def plan_together(manifests: Mapping[str, Manifest], capacity: int, kv_bytes: int) -> dict[str, int]:
    """The peak of a process in which several models share one budget for KV caches, in bytes of each part.

    Args:
        manifests: by what the model is for, which the parts are named after.
        capacity: tokens of the longest prompt with its answer.
        kv_bytes: the budget; 0 for what it is by itself.
    """
    parts = {"process": PROCESS_BYTES + sum(map(vocabulary_bytes, manifests.values()))}
    by_itself = 0
    for whose, manifest in manifests.items():
        tokens = min(capacity, manifest.context_length)
        by_itself += 2 * tokens * manifest.kv.bytes_per_token
        parts |= {f"{whose}: {part}": size for part, size in _model_parts(manifest, tokens).items()}
    return parts | {"KV caches of all requests": kv_bytes or by_itself}


def stored_bytes(way: Quantizer) -> float:
    """Of a weight in its file, with its share of a scale and a minimum."""
    return way.bits / 8 + _per_block(way, 2 if way.scales == "float16" else 4)


def gpu_bytes(way: Quantizer) -> float:
    """Of a weight on a GPU, where all floats are float16."""
    return 2.0 if way.method == NO_ROUNDING else way.bits / 8 + _per_block(way, 2, 2)


def _per_block(way: Quantizer, scale: int, minimum: float = 4) -> float:
    """A weight's share of them."""
    if way.method == NO_ROUNDING:
        return 0.0
    if way.method != CARRIED_OVER:  # a zero point, of as many bits as a weight
        minimum = way.bits / 8
    return (scale + (minimum if way.symmetric is False else 0)) / (way.block_size or BLOCK_SIZE)


def _folded_bytes(way: Quantizer) -> float:
    """A weight's share of a scale that becomes float32 when it is loaded."""
    return _per_block(replace(way, symmetric=True), 4) if way.scales == "float16" else 0.0


def _resident_bytes(way: Quantizer) -> float:
    """Of a weight in the memory of a CPU's session."""
    return RESIDENT_FACTOR * stored_bytes(replace(way, scales="float32")) + _folded_bytes(way)


def bulk(manifest: Manifest, part: str) -> Quantizer:
    """How most of a part is rounded: the tower's patches alone are floats beside a rounded rest. Of several ways of the
    decoder the first, which has most weights; of others the one that takes most. A head that is not told apart is
    stored as the table is.
    """
    ways = manifest.quantizer.get(part) or manifest.quantizer["embedding" if part == "head" else part]
    rounded = [way for way in ways if way.method != NO_ROUNDING]
    return (rounded or ways)[0] if part == "decoder" else max(rounded or ways, key=stored_bytes)


def table_bytes(manifest: Manifest, part: Literal["embedding", "head"]) -> int:
    """Of the embedding table or the head in the file; of the larger, where an older bundle has them in two formats."""
    return int(stored_bytes(bulk(manifest, part)) * manifest.vocab_size * manifest.hidden_size)


def vocabulary_bytes(manifest: Manifest) -> int:
    return BYTES_PER_VOCABULARY_ENTRY * manifest.vocab_size


def _model_parts(manifest: Manifest, tokens: int) -> dict[str, int]:
    """What a model takes besides the process and its KV caches. Each session keeps what its passes once needed."""
    heads = manifest.num_attention_heads if manifest.kv.dtype == "float16" else 0
    chunking = Chunking(scored_heads=heads, turn_s=10.0)  # as long as nobody waits
    prefill = chunking.tokens * activation_bytes(manifest.hidden_size, manifest.intermediate_size)
    prefill += 4 * chunking.scored_heads * chunking.size(tokens) * tokens
    parts = {
        "weights": _resident_weights(manifest),
        "prefill": prefill + MAX_DECODE_TOKENS * manifest.vocab_size * 4,
    }
    if manifest.image is not None:
        image = manifest.image
        patches = (image.max_image_size // image.patch_size) ** 2
        tower = TOWER_FACTOR * patches * activation_bytes(image.hidden_size, image.intermediate_size)
        parts["vision, the largest picture"] = tower + 3 * image.max_image_size**2 * 4
    return parts


def _resident_weights(manifest: Manifest) -> int:
    """The table is read from the mapped file, and lies there once more where it is the head."""
    files = {part: entry.bytes for part in ("decoder", "vision") if (entry := manifest.files.get(f"{part}.data"))}
    table, head = (bulk(manifest, part) for part in ("embedding", "head"))
    files["decoder"] -= table_bytes(manifest, "head")
    found = manifest.vocab_size * manifest.hidden_size * (_resident_bytes(head) + stored_bytes(table))
    if not manifest.tied_embeddings:
        files["decoder"] -= table_bytes(manifest, "embedding")
        found += manifest.vocab_size * manifest.hidden_size * _folded_bytes(table)
    for part, size in files.items():
        way = bulk(manifest, part)
        found += size * _resident_bytes(way) / stored_bytes(way)
    return int(found)


def least_device_bytes(manifest: Manifest, tokens: int) -> int:
    """What a GPU must have at the least: the weights, their scales in float16, and a float16 cache of `tokens`."""
    data = sum(entry.bytes for name, entry in manifest.files.items() if name.endswith(".data"))
    way = bulk(manifest, "decoder")
    return int(gpu_bytes(way) / stored_bytes(way) * data) + tokens * manifest.kv.bytes_of("float16")


def machine_bytes() -> int:
    """This machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def activation_bytes(hidden_size: int, intermediate_size: int) -> int:
    """Float32 bytes a position: residual, norm, Q, K, V, attention; gate and up, their product."""
    return 4 * (6 * hidden_size + 3 * intermediate_size)
