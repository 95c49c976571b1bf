"""The `ort` dialect: ONNX Runtime's contributed operators, the fastest on its CPU and CUDA kernels.

Decoder inputs: `ids` (1, T) int64, `image_embeds` (I, hidden) where there is a vision tower, `rows` (R) int64 = the
positions in `ids` whose logits are asked for, `seqlens` (1) int32 = past + T - 1, `total` () int32 = past + T, and
per layer `past.{i}.key|value` (1, kv, capacity, head_dim). Outputs: `logits` (R, vocab) and `present.{i}.key|value`,
which are meant to be bound to the same memory as `past`. In float16, which is for GPUs, also `best` (R, 1) int64 = the
likeliest token and `best_logit` (R, 1) float32: on a CPU the logits are where they are searched anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import BlockFormat, Source
from lineside.export.graph.common import INT64, CommonOps
from lineside.export.graph.int8_cache import INT8_CACHE, int8_attention, scale_inputs
from lineside.export.graph.kv import FLOAT_KV, KVFormat
from lineside.export.graph.weights import Precision, Slot, Weight
from lineside.export.graph.writer import MICROSOFT
from lineside.export.network.config import DecoderConfig, NetworkConfig, VisionConfig
from lineside.export.network.rope import axial_tables

OPSET = 21
FLOAT, FLOAT16 = 1, 10
"""ONNX's numbers of these types."""


@dataclass
class OrtOps(CommonOps):
    """Implements `export.network.ops.Ops`.

    `dtype` is that of activations: float32 for a CPU, float16 for CUDA. Weight files are the same for both: scales,
    vectors and tables of the other type are cast in the graph, which ONNX Runtime does once when it loads.
    `head_precision` is `embedding_precision` where head and table are tied.
    `accuracy_level` is MatMulNBits' own: 0 computes with activations as they are, 4 rounds them to 8 bits.
    `zero_points`: layers that are rounded to 4 bits here have some. `finer` ones have 8 bits instead.
    `source` tells which tensors of the checkpoint are rounded already: they are carried over as they are.
    """

    linear_precision: Precision
    embedding_precision: Precision
    head_precision: Precision
    accuracy_level: int
    source: Source
    kv: KVFormat = FLOAT_KV
    dtype: Literal["float32", "float16"] = "float32"
    zero_points: bool = False
    finer: frozenset[str] = frozenset()

    def _to_own(self, x: str) -> str:
        """A float32 tensor in the type of the activations."""
        return x if self.dtype == "float32" else self.graph.node("Cast", [x], to=FLOAT16)[0]

    def _from_own(self, x: str) -> str:
        return x if self.dtype == "float32" else self.graph.node("Cast", [x], to=FLOAT)[0]

    def _floats(self, slot: Slot) -> str:
        """A float initializer in the type of the activations. Cast once, however often it is used."""
        if slot.dtype == self.dtype:
            return self.graph.external(slot)
        name = f"{slot.name}.{self.dtype}"
        if not self.graph.has(name):
            to = FLOAT if self.dtype == "float32" else FLOAT16
            self.graph.node("Cast", [self.graph.external(slot)], names=[name], to=to)
        return name

    # Inputs and outputs

    def decoder_inputs(self, config: NetworkConfig) -> tuple[str, str]:
        ids = self.graph.input("ids", "int64", (1, "T"))
        image_embeds = ""
        if config.vision is not None:
            image_embeds = self._to_own(self.graph.input("image_embeds", "float32", ("I", config.decoder.hidden_size)))
        self.graph.input("rows", "int64", ("R",))
        self.graph.input("seqlens", "int32", (1,))
        self.graph.input("total", "int32", ())
        return ids, image_embeds

    def vision_inputs(self, config: VisionConfig) -> tuple[str, str]:
        patches = self.graph.input("patches", "float32", (1, "N", 3 * config.patch_size**2))
        return self._to_own(patches), self.graph.input("positions", "int64", (1, "N"))

    def feature_output(self, x: str, size: int) -> None:
        self.graph.node("Identity", [self._from_own(x)], names=["patch_features"])
        self.graph.output("patch_features", "float32", (1, "N", size))

    def image_output(self, x: str, hidden_size: int) -> None:
        self.graph.node("Identity", [self._from_own(x)], names=["image_embeds"])
        self.graph.output("image_embeds", "float32", ("I", hidden_size))

    # Embedding and head, which share their bytes where the model ties them

    def embed(self, ids: str, config: DecoderConfig) -> str:
        source = "decoder.embed_tokens.weight"
        if self.embedding_precision == "float32":
            table = self.graph.plan.plain("embed", source, (config.vocab_size, config.hidden_size))
            return self._to_own(self.graph.node("Gather", [self.graph.external(table.slots[0]), ids], axis=0)[0])
        shape = (config.vocab_size, config.hidden_size)
        block = self.source.block_format(source)
        if block is not None and block.symmetric:
            weight = self.graph.plan.carried("embed", (source,), *shape, block)
        else:  # GatherBlockQuantized knows no minima: such a table, and one with zero points, is rounded to 8 bits
            precision = self.embedding_precision if block is None else "int8"
            weight = self.graph.plan.matrix("embed", (source,), *shape, precision)
        packed, scales = weight.slots
        bits = 4 if weight.form == "int4" else 8
        flat = self.graph.external(packed, name="embed.table", shape=(shape[0], shape[1] * bits // 8))
        inputs = [flat, ids, self._floats(scales)]
        if self.dtype != "float32":
            inputs.append(self._middle(bits, (shape[0], -(-shape[1] // weight.block_size * bits // 8))))
        layout = {"block_size": weight.block_size, "gather_axis": 0, "quantize_axis": 1}
        return self.graph.contrib("GatherBlockQuantized", inputs, {"bits": bits, **layout})

    def _middle(self, bits: int, shape: tuple[int, int]) -> str:
        """Zero points in the middle of the range, as where none are given; ONNX Runtime's CUDA kernels took 0 then
        (onnxruntime#31692). Written as an expansion, which takes no room in the bundle.
        """
        middle = self.graph.constant("embed.middle", [[128 if bits == 8 else 0x88]], np.uint8)
        return self.graph.node("Expand", [middle, self.graph.constant("embed.blocks", shape, np.int64)])[0]

    def head(self, hidden: str, config: DecoderConfig) -> None:
        row = self.first_row(hidden)
        rows, columns = config.vocab_size, config.hidden_size
        embedding = self.graph.plan.weights.get("embed")
        if not config.tied_embeddings:
            logits = self._matmul(row, "lm_head", ("lm_head.weight",), rows, columns, self.head_precision)
        elif embedding is not None and self.head_precision != "float32":
            logits = self._matmul_nbits(row, embedding)
        else:
            source = ("decoder.embed_tokens.weight",)
            logits = self._matmul(row, "lm_head", source, rows, columns, self.head_precision)
        self.graph.node("Identity", [self._from_own(logits)], names=["logits"])
        self.graph.output("logits", "float32", ("R", rows))
        if self.dtype != "float32":
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
        column_order: npt.NDArray[np.int64] | None = None,
    ) -> str:
        precision = "int8" if name in self.finer else self.linear_precision
        y = self._matmul(x, name, sources, rows, columns, precision, column_order, zeros=self.zero_points)
        return self.add(y, self._vector(bias, rows)) if bias else y

    def _matmul(
        self,
        x: str,
        name: str,
        sources: tuple[str, ...],
        rows: int,
        columns: int,
        precision: Precision,
        column_order: npt.NDArray[np.int64] | None = None,
        *,
        zeros: bool = False,
    ) -> str:
        if column_order is not None and any(map(self.source.block_format, sources)):
            precision = "float32"  # blocks would be torn apart, and rounding once more is not carrying over
        block_format = self.source.block_format if precision != "float32" else _no_blocks
        groups = [(block, tuple(names)) for block, names in groupby(sources, block_format)]
        if len(groups) > 1:  # stacked matrices that are rounded differently
            sizes = [sum(self.source.shape(source)[0] for source in names) for _, names in groups]
            parts = [
                self._matmul(x, f"{name}.{i}", names, size, columns, precision, zeros=zeros)
                for i, ((_, names), size) in enumerate(zip(groups, sizes, strict=True))
            ]
            return self.graph.node("Concat", parts, axis=-1)[0]
        block = groups[0][0]
        if block is not None:
            return self._matmul_nbits(x, self.graph.plan.carried(name, sources, rows, columns, block))
        weight = self.graph.plan.matrix(name, sources, rows, columns, precision, column_order, zeros=zeros)
        if weight.form == "transposed":
            return self.graph.node("MatMul", [x, self._floats(weight.slots[0])])[0]
        return self._matmul_nbits(x, weight)

    def _matmul_nbits(self, x: str, weight: Weight) -> str:
        packed, scales, more = self.graph.external(weight.slots[0]), self._floats(weight.slots[1]), weight.slots[2:]
        rows, columns = weight.shape
        shape = {"K": columns, "N": rows, "bits": 4 if weight.form == "int4" else 8, "block_size": weight.block_size}
        attributes = {**shape, "accuracy_level": self.accuracy_level}
        inputs = [x, packed, scales]
        if weight.has_zeros:
            inputs.append(self.graph.external(more[0]))
        y = self.graph.contrib("MatMulNBits", inputs, attributes)
        if weight.carried is None or not weight.carried.minima:
            return y
        minima = self._floats(more[0])
        correction = self.graph.node("MatMul", [self.block_sums(x, columns, weight.block_size), minima])[0]
        return self.add(y, correction)

    def _vector(self, source: str, size: int) -> str:
        return self._floats(self.graph.plan.plain(source, source, (size,)).slots[0])

    def rms_norm(self, x: str, weight: str, size: int, eps: float) -> str:
        gamma = self._vector(weight, size)
        return self.graph.node("SimplifiedLayerNormalization", [x, gamma], axis=-1, epsilon=eps)[0]

    def add_rms_norm(self, x: str, residual: str, weight: str, size: int, eps: float) -> tuple[str, str]:
        gamma = self._vector(weight, size)
        normed, total = f"{weight}.normed", f"{weight}.sum"
        names = [normed, "", "", total]
        inputs = [x, residual, gamma]
        self.graph.node("SkipSimplifiedLayerNormalization", inputs, domain=MICROSOFT, names=names, epsilon=eps)
        return normed, total

    def scale_queries(self, qkv: str, ids: str, config: DecoderConfig) -> str:
        assert config.query_scale is not None
        slot = self.graph.plan.table("query_scale", (config.context_length, 1), partial(_scales, config))
        if not self.graph.has("query_positions"):
            ones = self.graph.node("Cast", [self.graph.node("Equal", [ids, ids])[0]], to=INT64)[0]
            axis = self.graph.constant("int_1", 1, np.int64)
            behind = self.graph.node("CumSum", [ones, axis], exclusive=1, reverse=1)[0]  # tokens behind each, (1, T)
            last = self.graph.node("Cast", ["seqlens"], to=INT64)[0]
            self.graph.node("Sub", [last, behind], names=["query_positions"])
        return self.scaled_queries(qkv, self._floats(slot), "query_positions", config)

    def causal_attention(self, qkv: str, layer: int, config: DecoderConfig) -> str:
        kv_shape = (1, config.num_key_value_heads, "capacity", config.head_dim)
        past = [self.graph.input(f"past.{layer}.{part}", self.kv.dtype, kv_shape) for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        for name in present:
            self.graph.output(name, self.kv.dtype, kv_shape)
        rotary = [self._rotary(config, part) for part in ("cos", "sin")]
        attributes: dict[str, Any] = {
            "num_heads": config.num_attention_heads,
            "kv_num_heads": config.num_key_value_heads,
            "scale": config.head_dim**-0.5,
            "do_rotary": 1,
            "rotary_interleaved": 0,
        }
        if self.kv.dtype == "int8" and self.dtype == "float32":
            return int8_attention(self.graph, qkv, layer, rotary, self.kv, config, attributes)
        cast = self.kv.dtype == "float16" and self.dtype == "float32"
        if cast:  # the operator computes in the type of its cache
            qkv, *rotary = (self.graph.node("Cast", [x], to=FLOAT16)[0] for x in (qkv, *rotary))
        inputs = [qkv, "", "", *past, "seqlens", "total", *rotary]
        if self.kv.dtype == "int8":
            inputs += ["", "", "", *scale_inputs(self.graph, layer, self.kv)]  # no position ids, bias or sink
            attributes |= INT8_CACHE
        attended = f"attended.{layer}"
        names = [attended, *present]
        self.graph.node("GroupQueryAttention", inputs, domain=MICROSOFT, names=names, **attributes)
        return self.graph.node("Cast", [attended], to=FLOAT)[0] if cast else attended

    def _rotary(self, config: DecoderConfig, part: str) -> str:
        shape = (config.context_length, config.head_dim // 2)

        def table() -> npt.NDArray[np.float32]:
            cos, sin = config.rope.tables(config.context_length, config.head_dim)
            return np.asarray(cos if part == "cos" else sin, dtype=np.float32)

        return self._floats(self.graph.plan.table(f"rotary.{part}", shape, table))

    def full_attention(self, q: str, k: str, v: str, positions: str, config: VisionConfig) -> str:
        tables = [self._axial_rotary(config, part) for part in ("cos", "sin")]
        heads = config.num_attention_heads
        turned = [
            self.graph.node(
                "RotaryEmbedding", [x, positions, *tables], domain=MICROSOFT, interleaved=0, num_heads=heads
            )[0]
            for x in (q, k)
        ]
        scale = config.head_dim**-0.5
        return self.graph.node("MultiHeadAttention", [*turned, v], domain=MICROSOFT, num_heads=heads, scale=scale)[0]

    def _axial_rotary(self, config: VisionConfig, part: str) -> str:
        grid, dim = config.grid_size, config.head_dim

        def table() -> npt.NDArray[np.float32]:
            cos, sin = axial_tables(grid, dim, config.rope_theta)
            return np.asarray(cos if part == "cos" else sin, dtype=np.float32)

        return self._floats(self.graph.plan.table(f"axial.{part}", (grid * grid, dim // 2), table))

    def activation(self, x: str, kind: str) -> str:
        if kind == "silu":
            return self.graph.node("QuickGelu", [x], domain=MICROSOFT, alpha=1.0)[0]
        return self.graph.node("Gelu", [x])[0]


def _scales(config: DecoderConfig) -> npt.NDArray[np.float32]:
    assert config.query_scale is not None
    return config.query_scale.table(config.context_length)


def _no_blocks(_source: str) -> BlockFormat | None:
    """A `block_format` for those who want float32 whatever the checkpoint holds."""
    return None
