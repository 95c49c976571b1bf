"""Shapes and constants of a Mistral3 network, as far as its graphs depend on them."""

from __future__ import annotations

from dataclasses import dataclass

from lineside.export.network.rope import QueryScale, Rope

MAX_CONTEXT = 262_144
"""Tokens. A config may promise more (Mistral Nemo: 1,024,000), whose rotary tables alone would take half a gigabyte."""


@dataclass(frozen=True)
class DecoderConfig:
    """The language model."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    rms_norm_eps: float
    rope: Rope
    tied_embeddings: bool
    query_scale: QueryScale | None = None


@dataclass(frozen=True)
class VisionConfig:
    """The Pixtral tower and the projector. `max_image_size` in pixels bounds the grid of rotary positions.

    With `merges`, the projector begins with a norm and joins `spatial_merge_size ** 2` patches (Mistral Small 3.1 and
    later); without, each patch becomes a token (Pixtral 12B).
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    patch_size: int
    max_image_size: int
    spatial_merge_size: int
    rope_theta: float
    activation: str
    projector_activation: str
    projector_bias: bool
    feature_layer: int
    projector_norm_eps: float
    merges: bool = True

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def grid_size(self) -> int:
        """Patches along the longest side."""
        return self.max_image_size // self.patch_size


@dataclass(frozen=True)
class NetworkConfig:
    """`vision` is None for a language model without a tower."""

    architecture: str
    decoder: DecoderConfig
    vision: VisionConfig | None
    image_token_id: int
