"""The names of tensors in Hugging Face's and in Mistral's own checkpoints, and Lineside's for the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

PREFIXES = (
    ("decoder.", ("language_model.model.", "model.language_model.", "model.")),
    ("lm_head.", ("language_model.lm_head.", "lm_head.")),
    ("vision.", ("vision_tower.", "model.vision_tower.")),
    ("projector.", ("multi_modal_projector.", "model.multi_modal_projector.")),
)
"""Published, as transformers 5 has them in memory, and those of a language model alone."""
DROPPED = re.compile(r".*\.rotary_emb\.inv_freq|.*\.(q|k|v|kv)_fake_quantizer\.qscale_act")
"""Tensors that only repeat what the config says (transformers before 4.31), and scales of an FP8 cache."""
LAYER = {
    "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj", "feed_forward.w3": "mlp.up_proj",
}  # fmt: skip
TOWER_LAYER = {
    "attention_norm": "attention_norm", "ffn_norm": "ffn_norm",
    "attention.wq": "attention.q_proj", "attention.wk": "attention.k_proj", "attention.wv": "attention.v_proj",
    "attention.wo": "attention.o_proj",
    "feed_forward.w1": "feed_forward.gate_proj", "feed_forward.w2": "feed_forward.down_proj",
    "feed_forward.w3": "feed_forward.up_proj",
}  # fmt: skip
OUTER = {
    "tok_embeddings": "decoder.embed_tokens", "norm": "decoder.norm", "output": "lm_head",
    "vision_encoder.patch_conv": "vision.patch_conv", "vision_encoder.ln_pre": "vision.ln_pre",
    "vision_language_adapter.w_in": "projector.linear_1", "vision_language_adapter.w_out": "projector.linear_2",
    "pre_mm_projector_norm": "projector.norm", "patch_merger.merging_layer": "projector.patch_merger.merging_layer",
}  # fmt: skip
"""Sources of Mistral's names: transformers' conversion of Ministral 3, vLLM's Pixtral."""


def hugging_face_name(stored: str) -> str:
    """Lineside's name; one that is not known stays as it is."""
    found = [(len(old), old, new) for new, prefixes in PREFIXES for old in prefixes if stored.startswith(old)]
    if not found:
        return stored
    _, old, new = max(found)  # `model.` begins other names, too
    return new + stored.removeprefix(old)


def mistral_name(stored: str) -> str:
    """Lineside's name; one that is not known stays as it is."""
    module, _, leaf = stored.rpartition(".")
    match = re.fullmatch(r"(vision_encoder\.transformer\.)?layers\.(\d+)\.(.+)", module)
    if match is None:
        return f"{OUTER[module]}.{leaf}" if module in OUTER else stored
    names: Mapping[str, str] = TOWER_LAYER if match[1] else LAYER
    at = "vision.transformer.layers" if match[1] else "decoder.layers"
    return f"{at}.{match[2]}.{names[match[3]]}.{leaf}" if match[3] in names else stored
