"""The family's tiny checkpoints as llama.cpp stores them: a language model, and a vision file beside it.

Names come from the gguf package's own map from transformers' names; keys are those that llama.cpp's conversion writes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter

from lineside.export.network.config import NetworkConfig
from lineside.export.network.rope import Llama3, Yarn
from tests.golden.family import MEMBERS, weights
from tests.support.native import interleaved
from tests.support.tokenizers import write_small_tokenizer

Edit = Callable[[GGUFWriter], None]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def nothing(_writer: GGUFWriter) -> None:
    pass


def write_gguf_member(name: str, folder: Path, edit: Edit = nothing, edit_vision: Edit = nothing) -> Path:
    """`{folder}/model.gguf`, and `mmproj-model-f32.gguf` where there is a tower. Edits come after the keys."""
    folder.mkdir(parents=True, exist_ok=True)
    member = MEMBERS[name]
    network = member.network
    tensors = {key: array.astype(np.float32) for key, array in weights(member).items()}
    tower = ("vision_tower.", "multi_modal_projector.")
    text = {key.removeprefix("language_model."): array for key, array in tensors.items() if not key.startswith(tower)}
    scaled = network.decoder.query_scale is not None
    architecture = gguf.MODEL_ARCH.MISTRAL3 if scaled else gguf.MODEL_ARCH.LLAMA
    path = folder / "model.gguf"
    writer = GGUFWriter(path, "mistral3" if scaled else "llama")
    _text_keys(writer, network)
    edit(writer)
    _write(writer, text, architecture, network.decoder.num_hidden_layers, _text_heads(network))
    write_small_tokenizer(folder / "tekken.json", merge=member.merge or 2)
    if network.vision is not None:
        writer = GGUFWriter(folder / "mmproj-model-f32.gguf", "clip")
        _vision_keys(writer, network)
        edit_vision(writer)
        writer.add_tensor("v.token_embd.img_break", tensors["language_model.model.embed_tokens.weight"][12])
        own = {key: array for key, array in tensors.items() if key.startswith(tower)}
        heads = dict.fromkeys(("q_proj", "k_proj"), network.vision.num_attention_heads)
        _write(writer, own, gguf.MODEL_ARCH.MMPROJ, network.vision.num_hidden_layers, heads)
    return path


def _text_heads(network: NetworkConfig) -> dict[str, int]:
    return {"q_proj": network.decoder.num_attention_heads, "k_proj": network.decoder.num_key_value_heads}


def _text_keys(writer: GGUFWriter, network: NetworkConfig) -> None:
    decoder = network.decoder
    writer.add_block_count(decoder.num_hidden_layers)
    writer.add_context_length(decoder.context_length)
    writer.add_embedding_length(decoder.hidden_size)
    writer.add_feed_forward_length(decoder.intermediate_size)
    writer.add_head_count(decoder.num_attention_heads)
    writer.add_head_count_kv(decoder.num_key_value_heads)
    writer.add_key_length(decoder.head_dim)
    writer.add_value_length(decoder.head_dim)
    writer.add_rope_dimension_count(decoder.head_dim)
    writer.add_layer_norm_rms_eps(decoder.rms_norm_eps)
    writer.add_rope_freq_base(decoder.rope.theta)
    writer.add_vocab_size(decoder.vocab_size)
    if isinstance(yarn := decoder.rope.scaling, Yarn) and decoder.query_scale is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(yarn.factor)
        writer.add_rope_scaling_orig_ctx_len(yarn.original_context)
        writer.add_rope_scaling_yarn_beta_fast(yarn.beta_fast)
        writer.add_rope_scaling_yarn_beta_slow(yarn.beta_slow)
        writer.add_rope_scaling_yarn_log_mul(1.0)
        writer.add_attn_temperature_scale(decoder.query_scale.beta)
    if isinstance(llama3 := decoder.rope.scaling, Llama3):
        plain = decoder.rope.theta ** -(np.arange(0, decoder.head_dim, 2) / decoder.head_dim)
        factors = plain / llama3.scaled(plain, decoder.rope.theta)
        writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))


def _vision_keys(writer: GGUFWriter, network: NetworkConfig) -> None:
    vision = network.vision
    assert vision is not None
    writer.add_clip_has_vision_encoder(value=True)
    writer.add_clip_projector_type("pixtral")
    writer.add_vision_projection_dim(network.decoder.hidden_size)
    writer.add_vision_image_size(vision.max_image_size)
    writer.add_vision_patch_size(vision.patch_size)
    writer.add_vision_embedding_length(vision.hidden_size)
    writer.add_vision_feed_forward_length(vision.intermediate_size)
    writer.add_vision_block_count(vision.num_hidden_layers)
    writer.add_vision_head_count(vision.num_attention_heads)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean(CLIP_MEAN)
    writer.add_vision_image_std(CLIP_STD)
    writer.add_vision_use_silu(value=True)
    if vision.merges:
        writer.add_vision_spatial_merge_size(vision.spatial_merge_size)


def _write(
    writer: GGUFWriter,
    tensors: dict[str, npt.NDArray[np.float32]],
    architecture: Any,
    layers: int,
    heads: dict[str, int],
) -> None:
    names = gguf.get_tensor_name_map(architecture, max(layers, 3))  # the map counts the projector as layers, too
    for name, array in tensors.items():
        projection = name.removesuffix(".weight").rpartition(".")[2]
        if projection in heads:
            array = np.ascontiguousarray(interleaved(array, heads[projection]))
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        writer.add_tensor(stored, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
