"""Tiny members of the Mistral family as transformers stores them: true keys and names, seeded weights.

`make_family.py` has transformers read these very folders, name by name, and keeps what it computes in `family/`; the
weights themselves are made anew wherever they are needed.
"""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from lineside.export.checkpoint.config import read_config
from lineside.export.network.config import NetworkConfig
from lineside.export.network.shapes import tensor_shapes
from tests.support.tokenizers import VOCAB_SIZE

FOLDER = Path(__file__).parent / "family"
STEPS, EVERY = 16, 4
"""Decode steps behind each prompt, and which logits are kept: of every fourth token."""
Tensors = dict[str, npt.NDArray[Any]]
TEXT: dict[str, Any] = {
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 32, "hidden_act": "silu",
    "hidden_size": 128, "initializer_range": 0.02, "intermediate_size": 256, "max_position_embeddings": 1024,
    "model_type": "mistral", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
    "pad_token_id": None, "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 1e9, "rope_type": "default"},
    "sliding_window": None, "tie_word_embeddings": False, "use_cache": True, "vocab_size": VOCAB_SIZE,
}  # fmt: skip
MINISTRAL: dict[str, Any] = TEXT | {
    "model_type": "ministral3", "pad_token_id": 11,
    "rope_parameters": {
        "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "llama_4_scaling_beta": 0.1, "mscale": 1.0,
        "mscale_all_dim": 1.0, "original_max_position_embeddings": 32, "rope_theta": 1e6, "rope_type": "yarn",
        "type": "yarn",
    },
}  # fmt: skip
"""With an original context so short that the queries of the prompts are scaled."""
LLAMA3_ROPE: dict[str, Any] = TEXT | {
    "rope_parameters": {
        "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 64,
        "rope_theta": 1e4, "rope_type": "llama3",
    },
}  # fmt: skip
VISION: dict[str, Any] = {
    "attention_dropout": 0.0, "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "image_size": 224,
    "initializer_range": 0.02, "intermediate_size": 96, "model_type": "pixtral", "num_attention_heads": 4,
    "num_channels": 3, "num_hidden_layers": 2, "patch_size": 14,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "axial"},
}  # fmt: skip
MISTRAL3: dict[str, Any] = {
    "architectures": ["Mistral3ForConditionalGeneration"], "dtype": "bfloat16", "image_token_index": 10,
    "model_type": "mistral3", "multimodal_projector_bias": False, "projector_hidden_act": "gelu",
    "spatial_merge_size": 2, "text_config": TEXT, "tie_word_embeddings": False, "transformers_version": "5.24.0",
    "vision_config": VISION, "vision_feature_layer": -1,
}  # fmt: skip
LLAVA: dict[str, Any] = {
    "architectures": ["LlavaForConditionalGeneration"], "dtype": "bfloat16", "image_seq_length": 1,
    "image_token_index": 10, "model_type": "llava", "multimodal_projector_bias": True, "projector_hidden_act": "gelu",
    "text_config": TEXT, "tie_word_embeddings": False, "transformers_version": "5.24.0", "vision_config": VISION,
    "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
}  # fmt: skip
FP8 = {
    "activation_scheme": "static", "dequantize": False, "modules_to_not_convert": ["vision_tower", "lm_head"],
    "quant_method": "fp8", "weight_block_size": None,
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A checkpoint; `merge` is the tokenizer's, None without a tower."""

    name: str
    config: dict[str, Any]
    merge: int | None = 2

    @property
    def network(self) -> NetworkConfig:
        tied = bool(self.config["tie_word_embeddings"])
        config = {key: value for key, value in self.config.items() if key != "quantization_config"}
        return read_config(config, Path("config.json"), has_head=not tied)

    @property
    def prompts(self) -> tuple[str, ...]:
        return ("text",) if self.merge is None else ("text", "picture", "two_pictures")


MEMBERS = {
    member.name: member
    for member in (
        Member("mistral3", MISTRAL3),
        Member("ministral3", MISTRAL3 | {"text_config": MINISTRAL, "tie_word_embeddings": True}),
        Member("ministral3_fp8", MISTRAL3 | {"text_config": MINISTRAL, "quantization_config": FP8}),
        Member("text", TEXT | {"architectures": ["MistralForCausalLM"], "dtype": "bfloat16"}, None),
        Member("llama3_rope", LLAMA3_ROPE | {"architectures": ["MistralForCausalLM"], "dtype": "bfloat16"}, None),
        Member("ministral3_text", MINISTRAL | {"architectures": ["Ministral3ForCausalLM"], "dtype": "bfloat16"}, None),
        Member("pixtral", LLAVA, 1),
    )
}


def weights(member: Member) -> Tensors:
    """By the names under which transformers stores them; matrices of the decoder's layers in FP8 where it says so."""
    text_only = member.merge is None
    found: Tensors = {}
    for name, shape in tensor_shapes(member.network).items():
        values = _values(name, shape)
        stored = stored_name(name, text_only=text_only)
        if "quantization_config" in member.config and name.startswith("decoder.layers") and len(shape) == 2:
            rounded, scale = to_fp8(values)
            module = stored.removesuffix(".weight")
            found |= {stored: rounded, f"{module}.weight_scale_inv": scale}
            found[f"{module}.activation_scale"] = np.full((), 0.05, ml_dtypes.bfloat16)
        else:
            found[stored] = values
    return found


ADAPTED = {"mistral3_lora": "mistral3"}
"""Members with an adapter, and the member below it."""
LORA = {
    "auto_mapping": None, "base_model_name_or_path": "mistralai/tiny", "bias": "none", "fan_in_fan_out": False,
    "inference_mode": True, "init_lora_weights": True, "layers_to_transform": None, "lora_alpha": 8,
    "lora_dropout": 0.1,
    "modules_to_save": None, "peft_type": "LORA", "r": 4, "rank_pattern": {"q_proj": 2}, "revision": None,
    "target_modules": ["q_proj", "k_proj", "down_proj", "linear_1", "merging_layer"], "task_type": "CAUSAL_LM",
    "use_dora": False, "use_rslora": True,
}  # fmt: skip


def adapter(member: Member) -> Tensors:
    """peft's tensors of `LORA`, in the decoder, the tower and the projector."""
    found: Tensors = {}
    for name, shape in tensor_shapes(member.network).items():
        module = stored_name(name, text_only=False).removesuffix(".weight")
        word = module.rpartition(".")[2]
        if name.endswith(".weight") and word in LORA["target_modules"]:  # type: ignore[operator]
            rank = 2 if word == "q_proj" else 4
            module = module.replace("language_model.model", "language_model")
            for half, size in (("A", (rank, shape[1])), ("B", (shape[0], rank))):
                path = f"base_model.model.model.{module}.lora_{half}.weight"
                found[path] = _values(path, size)
    return found


def write_adapter(name: str, folder: Path) -> Path:
    """The folder as peft saves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(LORA))
    save_file(adapter(MEMBERS[ADAPTED[name]]), folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def stored_name(name: str, *, text_only: bool) -> str:
    """As transformers stores what Lineside calls `name`."""
    prefixes = {"decoder.": "model.", "lm_head.": "lm_head."}
    if not text_only:
        prefixes = {"decoder.": "language_model.model.", "lm_head.": "language_model.lm_head.",
                    "vision.": "vision_tower.", "projector.": "multi_modal_projector."}  # fmt: skip
    return next(stored + name.removeprefix(own) for own, stored in prefixes.items() if name.startswith(own))


def _values(name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    noise = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 1, shape)
    values = 1 + 0.2 * noise if len(shape) == 1 and not name.endswith("bias") else 0.12 * noise
    return values.astype(ml_dtypes.bfloat16)


def to_fp8(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """E4M3 and the scale of the whole matrix, `()` bfloat16."""
    scale = np.asarray(np.abs(values.astype(np.float32)).max() / 448).astype(ml_dtypes.bfloat16)
    return (values.astype(np.float32) / scale.astype(np.float32)).astype(ml_dtypes.float8_e4m3fn), scale


def write_member(name: str, folder: Path) -> Path:
    """The checkpoint folder, without a tokenizer."""
    member = MEMBERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(copy.deepcopy(member.config)))
    save_file(weights(member), folder / "model.safetensors", {"format": "pt"})
    return folder
