"""The family's tiny checkpoints in Mistral's own format: other names, other keys, Q and K interleaved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from lineside.export.network.config import DecoderConfig, VisionConfig
from lineside.export.network.rope import Yarn
from tests.golden.family import MEMBERS, Member, Tensors, weights
from tests.support.tokenizers import write_small_tokenizer

PREFIXES = {"language_model.model.": "", "language_model.lm_head.": "output.", "model.": "", "lm_head.": "output.",
            "vision_tower.": "vision_encoder.", "multi_modal_projector.": ""}  # fmt: skip
DECODER = {"self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
           "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2",
           "mlp.up_proj": "feed_forward.w3", "post_attention_layernorm": "ffn_norm",
           "input_layernorm": "attention_norm", "embed_tokens": "tok_embeddings"}  # fmt: skip
TOWER = {"attention.q_proj": "attention.wq", "attention.k_proj": "attention.wk", "attention.v_proj": "attention.wv",
         "attention.o_proj": "attention.wo", "feed_forward.gate_proj": "feed_forward.w1",
         "feed_forward.down_proj": "feed_forward.w2", "feed_forward.up_proj": "feed_forward.w3"}  # fmt: skip
PROJECTOR = {"multi_modal_projector.linear_1": "vision_language_adapter.w_in",
             "multi_modal_projector.linear_2": "vision_language_adapter.w_out",
             "multi_modal_projector.norm": "pre_mm_projector_norm"}  # fmt: skip
LEAVES = {"weight_scale_inv": "qscale_weight", "activation_scale": "qscale_act"}


def native_name(stored: str) -> str:
    """Mistral's name of what transformers stores as `stored`."""
    module, _, leaf = stored.rpartition(".")
    words = TOWER if module.startswith("vision_tower") else {**DECODER, **PROJECTOR}
    for own, other in words.items():
        module = module.replace(own, other)
    name = f"{module}.{LEAVES.get(leaf, leaf)}"
    return next((new + name.removeprefix(old) for old, new in PREFIXES.items() if name.startswith(old)), name)


def interleaved(matrix: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Half-split rows to interleaved ones: the first of a pair is followed by its second."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def native_tensors(member: Member) -> Tensors:
    network, found = member.network, {}
    for stored, array in weights(member).items():
        if stored.endswith(("q_proj.weight", "k_proj.weight")):
            heads = network.decoder.num_attention_heads
            if "k_proj" in stored:
                heads = network.decoder.num_key_value_heads
            if stored.startswith("vision_tower"):
                assert network.vision is not None
                heads = network.vision.num_attention_heads
            array = np.ascontiguousarray(interleaved(array, heads))
        found[native_name(stored)] = array
    return found


def params(member: Member) -> dict[str, Any]:
    network = member.network
    found = _text(network.decoder)
    if network.vision is not None:
        found["vision_encoder"] = _tower(network.vision)
    if "quantization_config" in member.config:
        found["quantization"] = {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}
    return found


def _text(decoder: DecoderConfig) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dim": decoder.hidden_size, "n_layers": decoder.num_hidden_layers, "head_dim": decoder.head_dim,
        "hidden_dim": decoder.intermediate_size, "n_heads": decoder.num_attention_heads,
        "n_kv_heads": decoder.num_key_value_heads, "rope_theta": decoder.rope.theta, "norm_eps": decoder.rms_norm_eps,
        "vocab_size": decoder.vocab_size, "tied_embeddings": decoder.tied_embeddings,
        "max_position_embeddings": decoder.context_length,
    }  # fmt: skip
    if isinstance(yarn := decoder.rope.scaling, Yarn) and decoder.query_scale is not None:
        original = {"original_max_position_embeddings": yarn.original_context}
        found["yarn"] = {"factor": 32, "beta": 32, "alpha": 1, "apply_scale": False, **original}
        found["llama_4_scaling"] = {"beta": decoder.query_scale.beta, **original}
    return found


def _tower(vision: VisionConfig) -> dict[str, Any]:
    found: dict[str, Any] = {
        "hidden_size": vision.hidden_size, "num_channels": 3, "image_size": vision.max_image_size,
        "patch_size": vision.patch_size, "rope_theta": vision.rope_theta, "num_hidden_layers": vision.num_hidden_layers,
        "intermediate_size": vision.intermediate_size, "num_attention_heads": vision.num_attention_heads,
        "image_token_id": 10, "adapter_bias": vision.projector_bias,
    }  # fmt: skip
    if vision.merges:
        found |= {
            "max_image_size": vision.max_image_size, "spatial_merge_size": 2, "mm_projector_id": "patch_merge",
            "add_pre_mm_projector_layer_norm": True, "image_break_token_id": 12, "image_end_token_id": 13,
        }  # fmt: skip
    return found


def write_native(name: str, folder: Path) -> Path:
    member = MEMBERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.json").write_text(json.dumps(params(member)))
    save_file(native_tensors(member), folder / "consolidated.safetensors")
    write_small_tokenizer(folder / "tekken.json", merge=member.merge or 2)
    return folder
