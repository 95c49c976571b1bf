"""Read `config.json` of a Hugging Face Mistral3 checkpoint.

Sources: the published configs of Mistral Small 3.1 and 3.2, and transformers' `Mistral3Config`, whose defaults differ
from them in places (see the comments).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.config import DecoderConfig, NetworkConfig, VisionConfig

ARCHITECTURE = "Mistral3ForConditionalGeneration"


def read_config(folder: Path, *, has_head: bool) -> NetworkConfig:
    """Parse `folder/config.json`.

    Args:
        has_head: whether the checkpoint stores an `lm_head`. This decides about tied embeddings:
            `tie_word_embeddings` defaults to True in transformers 5 although the 24B is untied.

    Raises:
        MissingPart: no config.json, or a key is missing.
        Unsupported: another architecture, or an option that the graphs do not express.
    """
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingPart(
            f"{path} is missing: a checkpoint folder holds config.json, safetensors and tekken.json"
        ) from error
    except ValueError as error:
        raise Unsupported(f"{path} is not JSON: {error}") from error
    architecture = (config.get("architectures") or ["none"])[0]
    if architecture != ARCHITECTURE:
        raise Unsupported(f"{path}: architecture {architecture} is not supported; supported: {ARCHITECTURE}")
    if config.get("quantization_config"):
        raise Unsupported(f"{path}: the checkpoint is quantized already; export the original bfloat16 weights")
    try:
        return NetworkConfig(
            architecture=architecture,
            decoder=_decoder(config["text_config"], path, tied=not has_head),
            vision=_vision(config, path),
            image_token_id=int(config.get("image_token_index", 10)),
        )
    except KeyError as error:
        raise MissingPart(f"{path}: key {error} is missing") from error


def _decoder(text: Mapping[str, Any], path: Path, *, tied: bool) -> DecoderConfig:
    _require(path, "text_config.model_type", text.get("model_type", "mistral"), "mistral")
    _require(path, "text_config.hidden_act", text.get("hidden_act", "silu"), "silu")
    _require(path, "text_config.sliding_window", text.get("sliding_window"), None)
    rope = _rope(text, path, "text_config", "default")
    heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
    return DecoderConfig(
        hidden_size=hidden,
        intermediate_size=int(text["intermediate_size"]),
        num_hidden_layers=int(text["num_hidden_layers"]),
        num_attention_heads=heads,
        num_key_value_heads=int(text.get("num_key_value_heads") or heads),
        head_dim=int(text.get("head_dim") or hidden // heads),
        vocab_size=int(text["vocab_size"]),
        context_length=int(text["max_position_embeddings"]),
        rms_norm_eps=float(text["rms_norm_eps"]),
        rope_theta=rope,
        tied_embeddings=tied,
    )


def _vision(config: Mapping[str, Any], path: Path) -> VisionConfig:
    vision = config["vision_config"]
    _require(path, "vision_config.model_type", vision.get("model_type", "pixtral"), "pixtral")
    _require(path, "vision_config.num_channels", vision.get("num_channels", 3), 3)
    activation = vision.get("hidden_act", "silu")  # published: silu; transformers' class default: gelu
    layer = config.get("vision_feature_layer", -1)
    if not isinstance(layer, int):
        raise Unsupported(f"{path}: vision_feature_layer {layer} (several layers) is not supported")
    layers = int(vision["num_hidden_layers"])
    return VisionConfig(
        hidden_size=int(vision["hidden_size"]),
        intermediate_size=int(vision["intermediate_size"]),
        num_hidden_layers=layers,
        num_attention_heads=int(vision["num_attention_heads"]),
        patch_size=int(vision["patch_size"]),
        max_image_size=int(vision["image_size"]),
        spatial_merge_size=int(config.get("spatial_merge_size", 2)),
        rope_theta=_rope(vision, path, "vision_config", "axial", default=10000.0),
        activation=_activation(activation, path, "vision_config.hidden_act"),
        projector_activation=_activation(config.get("projector_hidden_act", "gelu"), path, "projector_hidden_act"),
        projector_bias=bool(config.get("multimodal_projector_bias", False)),
        feature_layer=layer if layer >= 0 else layers + 1 + layer,
        projector_norm_eps=float(config["text_config"]["rms_norm_eps"]),
    )


def _rope(section: Mapping[str, Any], path: Path, where: str, kind: str, default: float | None = None) -> float:
    """Theta of plain rotary embedding: `rope_parameters` in transformers 5, `rope_theta` before."""
    parameters = section.get("rope_parameters") or {}
    _require(path, f"{where}.rope_parameters.rope_type", parameters.get("rope_type", kind), kind)
    scaling = (section.get("rope_scaling") or {}).get("rope_type", "default")
    _require(path, f"{where}.rope_scaling.rope_type", scaling, "default")
    theta = parameters.get("rope_theta", section.get("rope_theta", default))
    if theta is None:
        raise MissingPart(f"{path}: {where} has neither rope_parameters.rope_theta nor rope_theta")
    return float(theta)


def _activation(name: str, path: Path, key: str) -> str:
    if name not in ("silu", "gelu"):
        raise Unsupported(f"{path}: {key} = {name!r} is not supported; supported: silu, gelu")
    return name


def _require(path: Path, key: str, value: object, supported: object) -> None:
    if value != supported:
        raise Unsupported(f"{path}: {key} = {value!r} is not supported; supported: {supported!r}")
