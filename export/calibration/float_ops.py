"""The network in float32, computed with numpy while it is described, from the checkpoint's own tensors.

A matrix is in memory only while it is multiplied, a slice of rows at a time, so that a 24B runs in the memory of its
activations. Passages run side by side: their tokens lie behind one another, `(T, D)`, and attention keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lineside.export.calibration.cache_range import largest_keys, largest_values
from lineside.export.checkpoint.source import Source
from lineside.export.network.config import DecoderConfig, NetworkConfig, VisionConfig
from lineside.export.network.rope import axial_tables

Float32 = npt.NDArray[np.float32]


class Computed(str):
    """The name of a tensor together with its numbers, which are freed when the description lets go of the name."""

    array: Float32

    def __new__(cls, array: npt.NDArray[np.floating]) -> Computed:
        made = super().__new__(cls, "computed")
        made.array = np.asarray(array, np.float32)
        return made


def numbers(name: str) -> Float32:
    """Those of a computed tensor."""
    assert isinstance(name, Computed)
    return name.array


@dataclass(frozen=True)
class Passage:
    """Tokens `(T,)`, and embeddings `(I, hidden)` of the image tokens among them."""

    ids: npt.NDArray[np.int64]
    image_embeds: Float32 | None = None


Visit = Callable[[str, tuple[str, ...], Float32], None]
"""Called with a matrix's name, its sources, and the activations `(T, K)` that it is about to be multiplied with."""


def no_visit(name: str, sources: tuple[str, ...], x: Float32) -> None:
    """A `Visit` that looks at nothing."""


@dataclass
class FloatOps:
    """Implements `export.network.ops.Ops`.

    Attributes:
        source: the checkpoint; tensors that come rounded count as what they are rounded to.
        passages: what the decoder reads.
        patches, positions: what the tower reads, `(N, 3*p*p)` and `(N,)`.
        visit: sees every matrix before it is multiplied.
        scored: the first token whose logits are wanted; those of all tokens behind it are, too.
        logits: `(T - scored, vocab)` when the decoder has been computed.
        largest: magnitude of each channel of `{layer}.key` and `{layer}.value`, `(kv_heads * head_dim,)`, anywhere in
            the context, by passages of which no logits are wanted.
        image_embeds: `(I, hidden)` when the tower has been computed.
    """

    source: Source
    passages: tuple[Passage, ...] = ()
    patches: Float32 | None = None
    positions: npt.NDArray[np.int64] | None = None
    visit: Visit = no_visit
    scored: int = 0
    logits: Float32 = field(default_factory=lambda: np.empty((0, 0), np.float32))
    largest: dict[str, Float32] = field(default_factory=dict)
    image_embeds: Float32 = field(default_factory=lambda: np.empty((0, 0), np.float32))

    # Inputs and outputs

    def decoder_inputs(self, config: NetworkConfig) -> tuple[str, str]:
        return "ids", "image_embeds" if config.vision is not None else ""

    def vision_inputs(self, config: VisionConfig) -> tuple[str, str]:  # noqa: ARG002 - one signature for all
        assert self.patches is not None
        return Computed(self.patches), "positions"

    def feature_output(self, x: str, size: int) -> None:
        """Nobody asks for the tower's own features here."""

    def image_output(self, x: str, hidden_size: int) -> None:  # noqa: ARG002
        self.image_embeds = numbers(x)

    # Embedding and head

    def embed(self, ids: str, config: DecoderConfig) -> str:  # noqa: ARG002 - those of the passages
        wanted = np.concatenate([passage.ids for passage in self.passages])
        hidden = np.empty((len(wanted), config.hidden_size), np.float32)
        start = 0
        for rows in self.source.rows("decoder.embed_tokens.weight"):
            here = (wanted >= start) & (wanted < start + len(rows))
            hidden[here] = rows[wanted[here] - start]
            start += len(rows)
        return Computed(hidden)

    def place_images(self, ids: str, hidden: str, image_embeds: str, image_token_id: int) -> str:  # noqa: ARG002
        x = numbers(hidden).copy()
        for passage, rows in zip(self.passages, self._spans(), strict=True):
            if passage.image_embeds is not None:
                x[rows][passage.ids == image_token_id] = passage.image_embeds
        return Computed(x)

    def head(self, hidden: str, config: DecoderConfig) -> None:
        tied = config.tied_embeddings
        source = "decoder.embed_tokens.weight" if tied else "lm_head.weight"
        x = numbers(hidden)
        self.visit("embed" if tied else "lm_head", (source,), x)
        self.logits = self._product(x[self.scored :], (source,), config.vocab_size)

    # Layers

    def linear(
        self,
        x: str,
        name: str,
        sources: tuple[str, ...],
        rows: int,
        columns: int,  # noqa: ARG002
        *,
        bias: str = "",
        column_order: npt.NDArray[np.int64] | None = None,
    ) -> str:
        given = numbers(x)
        self.visit(name, sources, given)
        y = self._product(given, sources, rows, column_order)
        if bias:
            y += vector(self.source, bias)
        return Computed(y)

    def _product(
        self, x: Float32, sources: tuple[str, ...], count: int, column_order: npt.NDArray[np.int64] | None = None
    ) -> Float32:
        """`x @ W.T`, `(T, count)`."""
        y = np.empty((len(x), count), np.float32)
        done = 0
        for source in sources:
            for rows in self.source.rows(source):
                flat = rows.reshape(len(rows), -1)
                y[:, done : done + len(rows)] = x @ (flat if column_order is None else flat[:, column_order]).T
                done += len(rows)
        return y

    def rms_norm(self, x: str, weight: str, size: int, eps: float) -> str:  # noqa: ARG002
        given = numbers(x)
        scale = np.sqrt(np.square(given).mean(-1, keepdims=True) + np.float32(eps))
        return Computed(given / scale * vector(self.source, weight))

    def add_rms_norm(self, x: str, residual: str, weight: str, size: int, eps: float) -> tuple[str, str]:
        total = self.add(x, residual)
        return self.rms_norm(total, weight, size, eps), total

    def scale_queries(self, qkv: str, ids: str, config: DecoderConfig) -> str:  # noqa: ARG002
        assert config.query_scale is not None
        table = np.asarray(config.query_scale.table(config.context_length), np.float32)
        x = numbers(qkv).copy()
        for rows in self._spans():
            x[rows, : config.num_attention_heads * config.head_dim] *= table[: rows.stop - rows.start]
        return Computed(x)

    def causal_attention(self, qkv: str, layer: int, config: DecoderConfig) -> str:
        x = numbers(qkv)
        heads, kv, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        attended = np.empty((len(x), heads * size), np.float32)
        longest = max(len(passage.ids) for passage in self.passages)
        cos, sin = (np.asarray(table, np.float32)[:, None] for table in config.rope.tables(longest, size))
        for rows in self._spans():
            length = rows.stop - rows.start
            parts = np.split(x[rows].reshape(length, -1, size), [heads, heads + kv], axis=1)
            if rows.stop <= self.scored:
                self._keep(f"{layer}.key", largest_keys(parts[1], config.rope, config.context_length))
                self._keep(f"{layer}.value", largest_values(parts[2]))
            q, k = (_turned(part, cos[:length], sin[:length]) for part in parts[:2])
            k, v = (np.repeat(part, heads // kv, axis=1) for part in (k, parts[2]))
            unseen = np.triu(np.full((length, length), -np.inf, np.float32), 1)
            attended[rows] = _attention(q, k, v, unseen)
        return Computed(attended)

    def _keep(self, name: str, here: Float32) -> None:
        self.largest[name] = np.maximum(self.largest.get(name, here), here)

    def full_attention(self, q: str, k: str, v: str, positions: str, config: VisionConfig) -> str:  # noqa: ARG002
        size = config.head_dim
        cos, sin = (
            np.asarray(table[self.positions], np.float32)[:, None]
            for table in axial_tables(config.grid_size, size, config.rope_theta)
        )
        query, key, value = (numbers(x).reshape(-1, config.num_attention_heads, size) for x in (q, k, v))
        return Computed(_attention(_turned(query, cos, sin), _turned(key, cos, sin), value, None))

    def activation(self, x: str, kind: str) -> str:
        given = numbers(x)
        if kind == "silu":
            with np.errstate(over="ignore"):  # to infinity, of which the quotient is zero
                return Computed(given / (1 + np.exp(-given)))
        return Computed(given * 0.5 * (1 + _erf(given * np.float32(0.5**0.5))))

    def split(self, x: str) -> tuple[str, str]:
        first, second = np.split(numbers(x), 2, axis=-1)
        return Computed(first), Computed(second)

    def pick_rows(self, x: str) -> str:
        """All of them: the last layer is calibrated by every token, too."""
        return x

    def multiply(self, a: str, b: str) -> str:
        return Computed(numbers(a) * numbers(b))

    def add(self, a: str, b: str) -> str:
        return Computed(numbers(a) + numbers(b))

    def join_patches(self, x: str, count: int, width: int) -> str:
        return Computed(numbers(x).reshape(-1, count * width))

    def _spans(self) -> Iterator[slice]:
        """The tokens of each passage."""
        start = 0
        for passage in self.passages:
            yield slice(start, start + len(passage.ids))
            start += len(passage.ids)


def vector(source: Source, name: str) -> Float32:
    """A tensor of one dimension."""
    return np.concatenate(list(source.rows(name)))


def _turned(x: Float32, cos: Float32, sin: Float32) -> Float32:
    """Rotary embedding of `(T, heads, head_dim)`."""
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def _attention(q: Float32, k: Float32, v: Float32, unseen: Float32 | None) -> Float32:
    """`(T, heads, head_dim)` each to `(T, heads * head_dim)`; a head's weights are in memory at a time."""
    scale = np.float32(q.shape[-1] ** -0.5)
    attended = np.empty_like(q)
    for head in range(q.shape[1]):
        scores = (q[:, head] * scale) @ k[:, head].T
        if unseen is not None:
            scores += unseen
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended[:, head] = weights @ v[:, head]
    return attended.reshape(len(q), -1)


def _erf(x: Float32) -> Float32:
    """The error function within 2e-7 (Abramowitz and Stegun, 7.1.26); numpy has none."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    terms = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    sums = np.zeros_like(t)
    for term in reversed(terms):
        sums = (sums + np.float32(term)) * t
    return np.asarray(np.sign(x) * (1 - sums * np.exp(-np.square(x))), np.float32)
