"""The members of the Mistral family whose figures are known, by name: what docs/family.md lists, with its sources.

They serve to plan and to measure without a checkpoint. What a checkpoint's own config says is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from lineside.export.network.config import MAX_CONTEXT, DecoderConfig, NetworkConfig, VisionConfig
from lineside.export.network.rope import QueryScale, Rope, Yarn

TOWER_A = VisionConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    patch_size=14,
    max_image_size=1540,
    spatial_merge_size=2,
    rope_theta=1e4,
    activation="silu",
    projector_activation="gelu",
    projector_bias=False,
    feature_layer=24,
    projector_norm_eps=1e-5,
)
TOWER_B = VisionConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    patch_size=16,
    max_image_size=1024,
    spatial_merge_size=1,
    rope_theta=1e4,
    activation="silu",
    projector_activation="gelu",
    projector_bias=True,
    feature_layer=24,
    projector_norm_eps=1e-5,
    merges=False,
)
YARN = Yarn(factor=16, original_context=16384, beta_fast=32, beta_slow=1, attention_factor=1.0)
"""Of Ministral 3."""
QUERY_SCALE = QueryScale(beta=0.1, original_context=16384)


def member(name: str) -> NetworkConfig | None:
    """By its name as docs/family.md or `FAMILY` writes it; None where it is not known."""
    return FAMILY.get("-".join(name.lower().replace("_", " ").split()))


def _network(
    layers: int,
    hidden_size: int,
    intermediate_size: int,
    theta: float,
    context: int,
    tower: VisionConfig | None,
    *,
    tied: bool = False,
    ministral: bool = False,
) -> NetworkConfig:
    """All have 32 heads of 128, 8 of them for keys and values, and a vocabulary of 131,072."""
    decoder = DecoderConfig(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=131072,
        context_length=min(context, MAX_CONTEXT),
        rms_norm_eps=1e-5,
        rope=Rope(theta, YARN if ministral else None),
        tied_embeddings=tied,
        query_scale=QUERY_SCALE if ministral else None,
    )
    kinds = {TOWER_A: "Mistral3ForConditionalGeneration", TOWER_B: "LlavaForConditionalGeneration"}
    architecture = kinds[tower] if tower is not None else "MistralForCausalLM"
    return NetworkConfig(architecture, decoder, tower, image_token_id=10)


_SMALL = _network(40, 5120, 32768, 1e9, 131072, TOWER_A)
FAMILY: Mapping[str, NetworkConfig] = {
    "mistral-small-3.2": _SMALL,
    "mistral-small-3.1": _SMALL,
    "mistral-small-3.0": _network(40, 5120, 32768, 1e8, 32768, None),
    "ministral-3-3b": _network(26, 3072, 9216, 1e6, 262144, TOWER_A, tied=True, ministral=True),
    "ministral-3-8b": _network(34, 4096, 14336, 1e6, 262144, TOWER_A, ministral=True),
    "ministral-3-14b": _network(40, 5120, 16384, 1e9, 262144, TOWER_A, ministral=True),
    "pixtral-12b": _network(40, 5120, 14336, 1e9, 1024000, TOWER_B),
}
