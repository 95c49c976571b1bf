"""The `standard` dialect: ONNX opset 24 and nothing else, for TensorRT; ONNX Runtime's CPU kernels run it too.

Decoder inputs: `ids` (1, T) int64, `image_embeds` (I, hidden) where there is a vision tower, `rows` (R) int64 = the
positions in `ids` whose logits are asked for, `positions` (1, T) int64 = past ... past + T - 1, `write_index` (1) int64
= past, `mask` (1, 1, T, C) = 0 where a token may look and a large negative number elsewhere, and per layer
`past.{i}.key|value` (1, kv, C, head_dim). Outputs: `logits` (R, vocab) float32, `best` (R, 1) int64 = the likeliest
token and `best_logit` (R, 1) float32, and `present.{i}.key|value`, which are meant to be bound to the same memory as
`past`. C is fixed: a graph for every length of the cache.

Why not less: TensorRT takes Attention's `nonpad_kv_seqlen` without heeding it, hence the mask; it takes zero and
negative scales and computes nonsense, hence they are refused here; it has no UINT4, hence signed integers, along the
first axis of `[K, N]`, which is the layout that ONNX Runtime fuses, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from lineside.export.errors import Unsupported
from lineside.export.exported import ExportedGraph, Rounded
from lineside.export.graph.common import CommonOps
from lineside.export.network.config import DecoderConfig, NetworkConfig, VisionConfig

OPSET = 24
FLOAT = 1
"""ONNX's number of this type."""
Dtype = Literal["float32", "float16"]


@dataclass
class StandardOps(CommonOps):
    """Implements `export.network.ops.Ops`.

    INT4 matrices stay INT4, the head among them; an embedding table becomes floats, which are gathered. Matrices of 8
    bits become floats, too: TensorRT knows no 8-bit blocks.

    Attributes:
        weights: the exported graph whose integers are taken over.
        dtype: of activations, scales and the cache.
        cache_length: C, in tokens.
    """

    weights: ExportedGraph
    dtype: Dtype = "float32"
    cache_length: int = 0

    # Inputs and outputs

    def decoder_inputs(self, config: NetworkConfig) -> tuple[str, str]:
        ids = self.graph.input("ids", "int64", (1, "T"))
        image_embeds = ""
        if config.vision is not None:
            image_embeds = self.graph.input("image_embeds", self.dtype, ("I", config.decoder.hidden_size))
        self.graph.input("rows", "int64", ("R",))
        self.graph.input("positions", "int64", (1, "T"))
        self.graph.input("write_index", "int64", (1,))
        self.graph.input("mask", self.dtype, (1, 1, "T", self.cache_length))
        return ids, image_embeds

    def vision_inputs(self, config: VisionConfig) -> tuple[str, str]:
        patches = self.graph.input("patches", self.dtype, (1, "N", 3 * config.patch_size**2))
        return patches, self.graph.input("positions", "int64", (1, "N"))

    def feature_output(self, x: str, size: int) -> None:
        self.graph.node("Identity", [x], names=["patch_features"])
        self.graph.output("patch_features", self.dtype, (1, "N", size))

    def image_output(self, x: str, hidden_size: int) -> None:
        self.graph.node("Identity", [x], names=["image_embeds"])
        self.graph.output("image_embeds", self.dtype, ("I", hidden_size))

    # Embedding and head

    def embed(self, ids: str, config: DecoderConfig) -> str:
        shape = (config.vocab_size, config.hidden_size)
        return self.graph.node("Gather", [self._table("embed", shape, lambda: self._floats("embed", shape)), ids])[0]

    def head(self, hidden: str, config: DecoderConfig) -> None:
        name = "lm_head" if self._holds("lm_head") else "embed"
        logits = self._product(self.first_row(hidden), name, config.vocab_size, config.hidden_size)
        if self.dtype != "float32":
            logits = self.graph.node("Cast", [logits], to=FLOAT)[0]
        self.graph.node("Identity", [logits], names=["logits"])
        self.graph.output("logits", "float32", ("R", config.vocab_size))
        self.best_outputs()

    # Layers

    def linear(
        self,
        x: str,
        name: str,
        sources: tuple[str, ...],
        rows: int,
        columns: int,
        *,
        bias: str = "",
        column_order: npt.NDArray[np.int64] | None = None,  # noqa: ARG002
    ) -> str:
        """The exported matrix has its columns in order already, and may lie in parts that were rounded differently."""
        if self._holds(name):
            y = self._product(x, name, rows, columns)
        else:
            parts = [part for i in range(len(sources)) if self._holds(part := f"{name}.{i}")]
            products = [self._product(x, part, self._rows(part), columns) for part in parts]
            y = self.graph.node("Concat", products, axis=-1)[0]
        return self.add(y, self._vector(bias, rows)) if bias else y

    def _product(self, x: str, name: str, rows: int, columns: int) -> str:
        """`x @ W.T` of an exported matrix `(rows, columns)`."""
        if not self._is_int4(name, columns) or rows % 2:  # two of a row of `[K, N]` share a byte
            shape = (rows, columns)
            matrix = self._table(f"{name}.transposed", (columns, rows), lambda: self._floats(name, shape).T)
            return self.graph.node("MatMul", [x, matrix])[0]
        blocks = self.weights.array(f"{name}.scales").shape[1]
        packed = self.graph.plan.table(
            f"{name}.int4", (columns, rows // 2), lambda: pack(self._rounded(name, columns).integers), np.uint8
        )
        scales = self._table(f"{name}.scales", (blocks, rows), lambda: self._scales(name))
        weight = self.graph.external(packed, shape=(columns, rows), element="int4")
        layout = {"axis": 0, "block_size": columns // blocks}
        y = self.graph.node("MatMul", [x, self.graph.node("DequantizeLinear", [weight, scales], **layout)[0]])[0]
        if f"{name}.minima" not in self.weights and f"{name}.zeros" not in self.weights:
            return y
        minima = self._table(f"{name}.minima", (blocks, rows), lambda: self._minima(name, columns))
        return self.add(y, self.graph.node("MatMul", [self.block_sums(x, columns, columns // blocks), minima])[0])

    def _holds(self, name: str) -> bool:
        return name in self.weights or f"{name}.scales" in self.weights

    def _rows(self, name: str) -> int:
        if f"{name}.scales" in self.weights:
            return int(self.weights.array(f"{name}.scales").shape[0])
        return int(self.weights.array(name).shape[1])

    def _is_int4(self, name: str, columns: int) -> bool:
        packed = f"{name}.packed"
        return packed in self.weights and 2 * self.weights.array(packed)[0].size == columns

    def _rounded(self, name: str, columns: int) -> Rounded:
        return positive(self.weights.rounded(name, columns), name)

    def _scales(self, name: str) -> npt.NDArray[np.generic]:
        return positive_scales(np.asarray(self.weights.array(f"{name}.scales"), np.float32), self.dtype).T

    def _minima(self, name: str, columns: int) -> npt.NDArray[np.generic]:
        minima = self._rounded(name, columns).minima
        assert minima is not None
        return minima

    def _floats(self, name: str, shape: tuple[int, int]) -> npt.NDArray[np.generic]:
        """`(rows, columns)`. Only embeddings are stored so where they are floats, other matrices transposed."""
        if f"{name}.scales" in self.weights:
            return self.weights.rounded(name, shape[1]).floats()
        stored = self.weights.array(name)
        return stored if stored.shape == shape and name == "embed" else stored.T

    def _vector(self, source: str, size: int) -> str:
        return self._table(source, (size,), lambda: self.weights.array(source))

    def _table(self, name: str, shape: tuple[int, ...], compute: Callable[[], npt.NDArray[np.generic]]) -> str:
        """An initializer of this graph's type."""
        return self.graph.external(self.graph.plan.table(name, shape, compute, np.dtype(self.dtype).type))

    def rms_norm(self, x: str, weight: str, size: int, eps: float) -> str:
        return self.graph.node("RMSNormalization", [x, self._vector(weight, size)], axis=-1, epsilon=eps)[0]

    def add_rms_norm(self, x: str, residual: str, weight: str, size: int, eps: float) -> tuple[str, str]:
        total = self.add(x, residual)
        return self.rms_norm(total, weight, size, eps), total

    def scale_queries(self, qkv: str, ids: str, config: DecoderConfig) -> str:  # noqa: ARG002 - positions are an input
        shape = (config.context_length, 1)
        table = self._table("query_scale", shape, lambda: self.weights.array("query_scale"))
        return self.scaled_queries(qkv, table, "positions", config)

    def causal_attention(self, qkv: str, layer: int, config: DecoderConfig) -> str:
        """Query heads that share a head of the cache become rows of one: `(1, kv, group * T, head_dim)`.

        With heads of their own TensorRT would copy the whole cache once for every query head, in each pass.
        """
        heads, kv, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        sizes = self.graph.constant("qkv_sizes", [heads * size, kv * size, kv * size], np.int64)
        query, key, value = self.graph.node("Split", [qkv, sizes], outputs=3, axis=-1)
        query, key = (self._turned(self._by_head(x, n, size), config) for x, n in ((query, heads), (key, kv)))
        shape = (1, kv, self.cache_length, size)
        present = []
        for part, update in (("key", key), ("value", self._by_head(value, kv, size))):
            past, name = self.graph.input(f"past.{layer}.{part}", self.dtype, shape), f"present.{layer}.{part}"
            self.graph.node("TensorScatter", [past, update, "write_index"], names=[name], axis=-2)
            self.graph.output(name, self.dtype, shape)
            present.append(name)
        shared = self._reshaped(query, "by_shared_head", [1, kv, -1, size])
        attended = self.graph.node("Attention", [shared, *present, self._mask(heads // kv)], scale=size**-0.5)[0]
        attended = self._reshaped(attended, "by_query_head", [1, heads, -1, size])
        turned = self.graph.node("Transpose", [attended], perm=[0, 2, 1, 3])[0]
        return self._reshaped(turned, "merged_heads", [1, -1, heads * size])

    def _mask(self, group: int) -> str:
        """`mask` for `group` query heads, one below the other: `(1, 1, group * T, C)`. Made once."""
        if group == 1:
            return "mask"
        if not self.graph.has("mask.shared"):
            repeated = self.graph.node("Expand", ["mask", self.graph.constant("group", [1, group, 1, 1], np.int64)])[0]
            flat = self.graph.constant("by_row", [1, 1, -1, self.cache_length], np.int64)
            self.graph.node("Reshape", [repeated, flat], names=["mask.shared"])
        return "mask.shared"

    def _by_head(self, x: str, heads: int, size: int) -> str:
        """`(1, T, heads * size)` -> `(1, heads, T, size)`."""
        split = self._reshaped(x, f"by_head.{heads}", [1, -1, heads, size])
        return self.graph.node("Transpose", [split], perm=[0, 2, 1, 3])[0]

    def _reshaped(self, x: str, name: str, shape: list[int]) -> str:
        """`name` is that of the shape."""
        return self.graph.node("Reshape", [x, self.graph.constant(name, shape, np.int64)])[0]

    def _turned(self, x: str, config: DecoderConfig) -> str:
        shape = (config.context_length, config.head_dim // 2)
        return self.graph.node("RotaryEmbedding", [x, *self._tables("rotary", shape), "positions"])[0]

    def _tables(self, name: str, shape: tuple[int, int]) -> list[str]:
        names = (f"{name}.cos", f"{name}.sin")
        return [self._table(part, shape, partial(self.weights.array, part)) for part in names]

    def full_attention(self, q: str, k: str, v: str, positions: str, config: VisionConfig) -> str:
        heads = config.num_attention_heads
        tables = self._tables("axial", (config.grid_size**2, config.head_dim // 2))
        turned = [self.graph.node("RotaryEmbedding", [x, *tables, positions], num_heads=heads)[0] for x in (q, k)]
        many = {"q_num_heads": heads, "kv_num_heads": heads, "scale": config.head_dim**-0.5}
        return self.graph.node("Attention", [*turned, v], **many)[0]

    def activation(self, x: str, kind: str) -> str:
        if kind == "silu":
            return self.multiply(x, self.graph.node("Sigmoid", [x])[0])
        return self.graph.node("Gelu", [x])[0]


def positive(matrix: Rounded, name: str) -> Rounded:
    """The same matrix with positive scales. Raises Unsupported where a negative one can't be turned round.

    Under a negative scale `q` becomes `-1 - q`, for which the minimum makes up; without minima it becomes `-q`, which
    does not exist for -8.
    """
    if (matrix.scales > 0).all():
        return matrix
    blocks = matrix.integers.reshape(len(matrix.integers), -1, matrix.size)
    negative, none = (matrix.scales < 0)[..., None], (matrix.scales == 0)[..., None]
    minima = matrix.minima
    if minima is not None:
        minima = minima + np.maximum(-matrix.scales, 0).T
    elif (negative & (blocks == -8)).any():
        raise Unsupported(
            f"{name} has blocks with a negative scale and the integer -8, which TensorRT computes wrong: "
            "export a checkpoint of floats, or another GGUF format than Q4_0"
        )
    turned = np.where(none, 0, np.where(negative, -blocks if minima is None else -1 - blocks, blocks))
    integers = turned.reshape(matrix.integers.shape).astype(np.int8)
    return replace(matrix, integers=integers, scales=positive_scales(matrix.scales), minima=minima)


def positive_scales(scales: npt.NDArray[np.float32], dtype: Dtype = "float32") -> npt.NDArray[np.float32]:
    """Those of `positive`, above zero in `dtype` too: a block without a scale, whose integers are zero, gets one."""
    least = np.float32(np.finfo(dtype).smallest_subnormal)
    return np.where(scales == 0, np.float32(1), np.maximum(np.abs(scales), least))


def pack(integers: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """`(N, K)` to ONNX's INT4 `(K, N)`, two of a row in a byte, the even one in the low nibble: `(K, N / 2)`."""
    turned = np.ascontiguousarray(integers.T).view(np.uint8)
    return np.asarray((turned[:, 0::2] & 15) | (turned[:, 1::2] << 4), np.uint8)
