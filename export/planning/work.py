"""The work of a model: weights, bytes read and operations, from its manifest alone.

A matrix does an addition and a multiplication for each weight and position: two operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from lineside.runtime.engine.memory_plan import bulk, gpu_bytes, stored_bytes, table_bytes
from lineside.runtime.manifest import NO_ROUNDING, ImageSettings, Manifest, Quantizer

FLOATS = Quantizer(NO_ROUNDING, 32)
SIDES = (448, 672, 896, 1120, 1540)
"""Pixels of the longer side of a picture, as a camera's `max_side` bounds it."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the weight files on a device: the decoder's layers, the head, an embedding table besides it (0 where the
    head is the table), tables of angles, the tower.
    """

    layers: int
    head: int
    embedding: int
    angles: int
    vision: int

    @property
    def resident(self) -> int:
        return self.layers + self.head + self.embedding + self.angles + self.vision

    @property
    def read(self) -> int:
        """By a decode step, besides the KV cache: every layer, and the head."""
        return self.layers + self.head


def in_engine(way: Quantizer) -> float:
    """Bytes of a weight in a TensorRT engine: it has no blocks of 8 bits, and takes them as float16."""
    return gpu_bytes(way) if way.bits == 4 else 2.0


def in_session(way: Quantizer) -> float:
    """Bytes of a weight that a pass on a CPU reads: scales are float32 there."""
    return stored_bytes(replace(way, scales="float32"))


def sizes(manifest: Manifest, held: Callable[[Quantizer], float]) -> Sizes:
    """`held` says how many bytes a weight takes on the device, by how it was rounded."""
    table = 0 if manifest.tied_embeddings else table_bytes(manifest, "embedding")
    head = table_bytes(manifest, "head")
    angles = 4 * manifest.context_length * manifest.kv.head_dim
    layers = max(0, manifest.files["decoder.data"].bytes - table - head - angles)
    vision = manifest.files["vision.data"].bytes if "vision.data" in manifest.files else 0

    def on_device(size: int, part: str) -> int:
        way = bulk(manifest, part)
        return int(size * held(way) / stored_bytes(way))

    return Sizes(
        on_device(layers, "decoder"),
        on_device(head, "head"),
        on_device(table, "embedding"),
        int(angles * held(FLOATS) / stored_bytes(FLOATS)),
        on_device(vision, "vision") if vision else 0,
    )


def layer_weights(manifest: Manifest) -> int:
    """Of all the decoder's layers."""
    hidden, kv = manifest.hidden_size, manifest.kv
    queries, keys = (heads * kv.head_dim for heads in (manifest.num_attention_heads, kv.num_key_value_heads))
    attention = 2 * hidden * queries + 2 * hidden * keys
    return kv.num_hidden_layers * (attention + 3 * hidden * manifest.intermediate_size)


@dataclass(frozen=True)
class Picture:
    """A square picture. Patches pass the tower, tokens the decoder, with one behind each row."""

    side: int
    patches: int
    tokens: int


def picture(image: ImageSettings, side: int) -> Picture:
    """As mistral-common cuts it; larger ones than the model takes are shrunk to that."""
    rows = math.ceil(min(side, image.max_image_size) / (image.patch_size * image.spatial_merge_size))
    return Picture(side, (rows * image.spatial_merge_size) ** 2, rows * (rows + 1))


def vision_operations(manifest: Manifest, shown: Picture) -> float:
    """Of the tower and the projector. Every patch looks at every other."""
    image = manifest.image
    assert image is not None
    layers, weights, projector = tower(manifest)
    attention = 4 * shown.patches**2 * image.hidden_size * layers
    return 2 * weights * shown.patches + attention + 2 * projector * shown.tokens


def tower(manifest: Manifest) -> tuple[int, int, int]:
    """Layers, their weights, and the weights of the projector. The manifest does not count them: their bytes tell."""
    image = manifest.image
    assert image is not None
    size, hidden, merged = image.hidden_size, manifest.hidden_size, image.spatial_merge_size**2
    projector = hidden * size + hidden**2 + (merged * size**2 if merged > 1 else 0)
    layer = 4 * size**2 + 3 * size * image.intermediate_size
    stored = manifest.files["vision.data"].bytes / stored_bytes(bulk(manifest, "vision"))
    layers = max(1, round((stored - projector) / layer))
    return layers, layers * layer, projector


def prefill_operations(manifest: Manifest, tokens: int) -> float:
    """Of a prompt of `tokens` in an empty cache. Each token looks at those before it, half of all."""
    queries = manifest.num_attention_heads * manifest.kv.head_dim
    attention = 2 * tokens**2 * queries * manifest.kv.num_hidden_layers
    return 2.0 * layer_weights(manifest) * tokens + attention
