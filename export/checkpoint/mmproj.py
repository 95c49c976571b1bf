"""The vision file (`mmproj-*.gguf`) beside a GGUF language model: Pixtral's tower and its projector, for llama.cpp."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lineside.export.checkpoint.gguf_metadata import Metadata
from lineside.export.errors import Unsupported
from lineside.export.network.config import VisionConfig
from lineside.runtime.picture import DEVIATION, MEAN

NAMES = {
    "ln1": "attention_norm", "ln2": "ffn_norm", "attn_q": "attention.q_proj", "attn_k": "attention.k_proj",
    "attn_v": "attention.v_proj", "attn_out": "attention.o_proj", "ffn_gate": "feed_forward.gate_proj",
    "ffn_up": "feed_forward.up_proj", "ffn_down": "feed_forward.down_proj",
}  # fmt: skip
OUTER = {
    "v.patch_embd.weight": "vision.patch_conv.weight", "v.pre_ln.weight": "vision.ln_pre.weight",
    "mm.1.weight": "projector.linear_1.weight", "mm.1.bias": "projector.linear_1.bias",
    "mm.2.weight": "projector.linear_2.weight", "mm.2.bias": "projector.linear_2.bias",
    "mm.input_norm.weight": "projector.norm.weight",
    "mm.patch_merger.weight": "projector.patch_merger.merging_layer.weight",
}  # fmt: skip
IMG_BREAK = "v.token_embd.img_break"
"""A row of the embedding table once more, for llama.cpp's own use."""
THETA = 10000.0
"""llama.cpp has it in its code for this tower."""
EPSILON = 1e-5
IGNORED = frozenset({"has_vision_encoder", "has_audio_encoder", "has_llava_projector"})


def find_mmproj(model: Path) -> Path | None:
    """The vision file beside `model`; raises Unsupported where there are several."""
    found = sorted(path for path in model.parent.glob("*mmproj*.gguf") if path != model)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise Unsupported(
            f"{model.parent} has several vision files ({names}): keep the one that belongs to {model.name}"
        )
    return found[0] if found else None


def vision_name(stored: str) -> str:
    """`v.blk.0.attn_q.weight` to Lineside's name; unknown names stay as they are."""
    match = re.fullmatch(r"v\.blk\.(\d+)\.(\w+)\.weight", stored)
    if match and match[2] in NAMES:
        return f"vision.transformer.layers.{match[1]}.{NAMES[match[2]]}.weight"
    return OUTER.get(stored, stored)


def read_vision(file: Metadata, hidden_size: int, text_eps: float) -> VisionConfig:
    """Raises Unsupported where it is another tower, or another model's."""
    projector = file.get("clip.projector_type" if "clip.projector_type" in file else "clip.vision.projector_type")
    if file.architecture != "clip" or projector != "pixtral":
        raise Unsupported(
            f"{file.path}: projector {projector} of {file.architecture} is not supported; supported: pixtral"
        )
    at = "clip.vision"
    if file.whole(f"{at}.projection_dim", hidden_size) != hidden_size:
        raise Unsupported(
            f"{file.path} is another model's: its projector gives {file.get(f'{at}.projection_dim')} values"
        )
    for key, wanted in (("image_mean", MEAN), ("image_std", DEVIATION)):
        if not np.allclose(file.get(f"{at}.{key}", wanted.tolist()), wanted, atol=1e-4):
            raise Unsupported(f"{file.path}: {at}.{key} is not Pixtral's: pictures would be normalized otherwise")
    epsilon = file.number(f"{at}.attention.layer_norm_epsilon", EPSILON)
    if not np.isclose(epsilon, EPSILON, rtol=1e-3):
        raise Unsupported(f"{file.path}: {at}.attention.layer_norm_epsilon = {epsilon} is not supported: {EPSILON}")
    silu, gelu = file.get("clip.use_silu", default=False), file.get("clip.use_gelu", default=False)
    if bool(silu) == bool(gelu):
        raise Unsupported(f"{file.path} names neither clip.use_silu nor clip.use_gelu, or both")
    stored = {tensor.name for tensor in file.tensors}
    merges = "mm.patch_merger.weight" in stored
    layers = file.whole(f"{at}.block_count")
    read = VisionConfig(
        hidden_size=file.whole(f"{at}.embedding_length"),
        intermediate_size=file.whole(f"{at}.feed_forward_length"),
        num_hidden_layers=layers,
        num_attention_heads=file.whole(f"{at}.attention.head_count"),
        patch_size=file.whole(f"{at}.patch_size"),
        max_image_size=file.whole(f"{at}.image_size"),
        spatial_merge_size=file.whole(f"{at}.spatial_merge_size", 2 if merges else 1),
        rope_theta=THETA,
        activation="silu" if silu else "gelu",
        projector_activation="gelu",
        projector_bias="mm.1.bias" in stored,
        feature_layer=layers,
        projector_norm_eps=text_eps,
        merges=merges,
    )
    file.close("clip.", IGNORED)
    return read
