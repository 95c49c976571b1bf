"""The work of a model: weights, bytes read and operations, from its manifest alone.

A matrix does an addition and a multiplication for each weight and position: two operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lineside.runtime.engine.memory_plan import EMBEDDING_BYTES, HALF_SCALES, embedding_bytes
from lineside.runtime.manifest import ImageSettings, Manifest

GPU_SHARE = {"int4": HALF_SCALES, "int8": 17 / 18, "float32": 0.5}
"""What a GPU holds of a weight file: scales and floats in float16. A weight of 9 bits, with its share of a float32
scale for 32 of them, becomes one of 8.5."""
ENGINE_SHARE = GPU_SHARE | {"int8": 2 / 1.125}
"""What a TensorRT engine holds: it has no blocks of 8 bits, and takes them as float16."""
FILE_SHARE = {"int4": 1.0, "int8": 1.0, "float32": 1.0}
"""What a CPU reads: the file as it is."""
SIDES = (448, 672, 896, 1120, 1540)
"""Pixels of the longer side of a picture, as a camera's `max_side` bounds it."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the weight files on a device: the decoder's layers, one embedding table, tables of angles, the tower."""

    layers: int
    embedding: int
    angles: int
    vision: int
    tied: bool

    @property
    def resident(self) -> int:
        return self.layers + self.embedding * (1 if self.tied else 2) + self.angles + self.vision

    @property
    def read(self) -> int:
        """By a decode step, besides the KV cache: every layer, and the head."""
        return self.layers + self.embedding


def sizes(manifest: Manifest, share: Mapping[str, float]) -> Sizes:
    """`share` says what of a weight's bytes in the file is held on the device, by its form."""
    embedding = embedding_bytes(manifest)
    angles = 4 * manifest.context_length * manifest.kv.head_dim
    tables = embedding if manifest.tied_embeddings else 2 * embedding
    layers = max(0, manifest.files["decoder.data"].bytes - tables - angles)
    vision = manifest.files["vision.data"].bytes if "vision.data" in manifest.files else 0
    return Sizes(
        int(layers * _of(share, manifest.quantization["decoder"])),
        int(embedding * _of(share, manifest.quantization["embedding"])),
        int(angles * share["float32"]),
        int(vision * _of(share, manifest.quantization.get("vision", "float32"))),
        manifest.tied_embeddings,
    )


def _of(share: Mapping[str, float], forms: str) -> float:
    """Of several forms the one that holds the bulk: the tower's patches alone are floats beside a rounded rest."""
    rounded = [form for form in forms.split("+") if form != "float32"]
    return max(share[form] for form in rounded or ["float32"])


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
    form = "int8" if "int8" in manifest.quantization["vision"] else manifest.quantization["vision"].split("+")[0]
    stored = manifest.files["vision.data"].bytes / EMBEDDING_BYTES[form]
    layers = max(1, round((stored - projector) / layer))
    return layers, layers * layer, projector


def prefill_operations(manifest: Manifest, tokens: int) -> float:
    """Of a prompt of `tokens` in an empty cache. Each token looks at those before it, half of all."""
    queries = manifest.num_attention_heads * manifest.kv.head_dim
    attention = 2 * tokens**2 * queries * manifest.kv.num_hidden_layers
    return 2.0 * layer_weights(manifest) * tokens + attention
