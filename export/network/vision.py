"""The Pixtral vision tower with its projector, and Mistral3's patch merger before it.

Patches arrive in merge order: each run of `spatial_merge_size ** 2` patches is one block of the grid. Attention between
all patches does not mind their order, and merging becomes a reshape. The merger's matrix is stored with its columns
reordered to match: published weights expect them channel-major (as `torch.nn.functional.unfold` lays them out).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineside.export.network.config import VisionConfig
from lineside.export.network.decoder import emit_mlp
from lineside.export.network.ops import Ops

NORM_EPS = 1e-5
"""The tower's norms have a fixed epsilon (transformers' PixtralAttentionLayer)."""


def emit_vision(ops: Ops, config: VisionConfig, text_hidden_size: int) -> None:
    """Pixel patches `(1, N, 3*p*p)` to the tower's features, and to image embeddings `(N / merge^2, hidden)`."""
    size = config.hidden_size
    patches, positions = ops.vision_inputs(config)
    patch_size = 3 * config.patch_size**2
    hidden = ops.linear(patches, "vision.patch_conv", ("vision.patch_conv.weight",), size, patch_size)
    hidden = ops.rms_norm(hidden, "vision.ln_pre.weight", size, NORM_EPS)
    update = ""
    for layer in range(config.feature_layer):
        at = f"vision.transformer.layers.{layer}"
        norm = f"{at}.attention_norm.weight"
        if update:
            normed, hidden = ops.add_rms_norm(update, hidden, norm, size, NORM_EPS)
        else:
            normed = ops.rms_norm(hidden, norm, size, NORM_EPS)
        q, k, v = (
            ops.linear(normed, f"{at}.attention.{p}", (f"{at}.attention.{p}_proj.weight",), size, size) for p in "qkv"
        )
        attended = ops.full_attention(q, k, v, positions, config)
        update = ops.linear(attended, f"{at}.attention.o", (f"{at}.attention.o_proj.weight",), size, size)
        normed, hidden = ops.add_rms_norm(update, hidden, f"{at}.ffn_norm.weight", size, NORM_EPS)
        update = emit_mlp(ops, normed, f"{at}.feed_forward", size, config.intermediate_size, config.activation)
    hidden = ops.add(update, hidden)
    ops.feature_output(hidden, size)
    ops.image_output(_emit_projector(ops, hidden, config, text_hidden_size), text_hidden_size)


def _emit_projector(ops: Ops, hidden: str, config: VisionConfig, target: int) -> str:
    size = config.hidden_size
    x = _emit_merger(ops, hidden, config) if config.merges else ops.join_patches(hidden, 1, size)
    bias_1, bias_2 = ("projector.linear_1.bias", "projector.linear_2.bias") if config.projector_bias else ("", "")
    x = ops.linear(x, "projector.linear_1", ("projector.linear_1.weight",), target, size, bias=bias_1)
    x = ops.activation(x, config.projector_activation)
    return ops.linear(x, "projector.linear_2", ("projector.linear_2.weight",), target, target, bias=bias_2)


def _emit_merger(ops: Ops, hidden: str, config: VisionConfig) -> str:
    size, merged = config.hidden_size, config.spatial_merge_size**2
    normed = ops.rms_norm(hidden, "projector.norm.weight", size, config.projector_norm_eps)
    joined = ops.join_patches(normed, merged, size)
    merger = "projector.patch_merger.merging_layer.weight"
    return ops.linear(joined, "projector.merger", (merger,), size, merged * size, column_order=merge_columns(config))


def merge_columns(config: VisionConfig) -> npt.NDArray[np.int64]:
    """Source column of each column in patch-major order: `(d, patch)` becomes `(patch, d)`."""
    merged = config.spatial_merge_size**2
    return np.arange(config.hidden_size * merged, dtype=np.int64).reshape(config.hidden_size, merged).T.reshape(-1)
