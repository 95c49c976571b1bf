"""What a dialect must be able to express. Tensors are named; `linear` and norms name checkpoint tensors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from lineside.export.network.config import DecoderConfig, NetworkConfig, VisionConfig


class Ops(Protocol):
    """One network, several operator sets: each dialect implements these."""

    def decoder_inputs(self, config: NetworkConfig) -> tuple[str, str]:
        """Declare the inputs; returns token ids `(1, T)` and image embeddings `(I, hidden)`, I >= 1.

        A network without vision has no image embeddings: their name is empty.
        """

    def embed(self, ids: str, config: DecoderConfig) -> str:
        """Token ids `(1, T)` -> `(1, T, hidden)`."""

    def place_images(self, ids: str, hidden: str, image_embeds: str, image_token_id: int) -> str:
        """Put the n-th image embedding where the n-th image token stands."""

    def linear(
        self,
        x: str,
        name: str,
        sources: tuple[str, ...],
        rows: int,
        columns: int,
        *,
        bias: str = "",
        column_order: npt.NDArray[np.int64] | None = None,
    ) -> str:
        """`x @ W.T`, W being the sources stacked by rows, `(rows, columns)`."""

    def head(self, hidden: str, config: DecoderConfig) -> None:
        """Declare the logits `(R, vocab)` float32 of hidden states `(1, R, hidden)`."""

    def rms_norm(self, x: str, weight: str, size: int, eps: float) -> str: ...

    def add_rms_norm(self, x: str, residual: str, weight: str, size: int, eps: float) -> tuple[str, str]:
        """Returns norm(x + residual) and x + residual."""

    def scale_queries(self, qkv: str, ids: str, config: DecoderConfig) -> str:
        """Multiply the queries in `qkv` by `config.query_scale` at their positions; `ids` are `(1, T)`."""

    def causal_attention(self, qkv: str, layer: int, config: DecoderConfig) -> str:
        """Rotary causal attention over the layer's KV cache; `qkv` is `(1, T, (heads + 2 * kv) * head_dim)`."""

    def vision_inputs(self, config: VisionConfig) -> tuple[str, str]:
        """Declare patches `(1, N, 3*p*p)` and their flat grid positions `(1, N)`."""

    def full_attention(self, q: str, k: str, v: str, positions: str, config: VisionConfig) -> str:
        """Attention of all patches to all, with two-dimensional rotary embedding."""

    def activation(self, x: str, kind: str) -> str:
        """`silu` or (exact) `gelu`."""

    def split(self, x: str) -> tuple[str, str]:
        """The two halves of the last axis."""

    def pick_rows(self, x: str) -> str:
        """`(1, T, D)` -> `(1, R, D)`: the positions whose logits are asked for."""

    def multiply(self, a: str, b: str) -> str: ...

    def add(self, a: str, b: str) -> str: ...

    def join_patches(self, x: str, count: int, width: int) -> str:
        """`(1, N, D)` -> `(N / count, count * D)`: `count` consecutive patches side by side."""

    def feature_output(self, x: str, size: int) -> None:
        """Declare the tower's own features `(1, N, size)`, one for each patch."""

    def image_output(self, x: str, hidden_size: int) -> None:
        """Declare the image embeddings `(N / merge^2, hidden)`."""
