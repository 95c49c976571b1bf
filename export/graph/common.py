"""What both dialects write in the same way: plain ONNX operators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lineside.export.graph.writer import GraphWriter
from lineside.export.network.config import DecoderConfig

BOOL, INT64 = 9, 7
"""ONNX's numbers of these types."""


@dataclass
class CommonOps:
    """A part of `export.network.ops.Ops`."""

    graph: GraphWriter

    def place_images(self, ids: str, hidden: str, image_embeds: str, image_token_id: int) -> str:
        token = self.graph.constant("image_token", image_token_id, np.int64)
        axis, one, zero = (self.graph.constant(f"int_{v}", v, np.int64) for v in (1, 1, 0))
        is_image = self.graph.node("Equal", [ids, token])[0]  # (1, T)
        count = self.graph.node("CumSum", [self.graph.node("Cast", [is_image], to=INT64)[0], axis])[0]
        index = self.graph.node("Max", [self.graph.node("Sub", [count, one])[0], zero])[0]
        picked = self.graph.node("Gather", [image_embeds, index], axis=0)[0]  # (1, T, hidden)
        last_axis = self.graph.constant("last_axis", [-1], np.int64)
        mask = self.graph.node("Unsqueeze", [is_image, last_axis])[0]
        return self.graph.node("Where", [mask, picked, hidden])[0]

    def scaled_queries(self, qkv: str, table: str, positions: str, config: DecoderConfig) -> str:
        """`qkv` `(1, T, (heads + 2 * kv) * head_dim)` with its queries multiplied by the table's rows of `positions`.

        The factors of all columns, one for keys and values, are made once for all layers.
        """
        if not self.graph.has("query_factors"):
            heads, kv = config.num_attention_heads, config.num_key_value_heads
            columns = np.repeat([True, False], [heads * config.head_dim, 2 * kv * config.head_dim])
            of_position = self.graph.node("Gather", [table, positions], axis=0)[0]  # (1, T, 1)
            is_query = self.graph.constant("is_query", columns, np.bool_)
            one = self.graph.node("CastLike", [self.graph.constant("float_1", 1, np.float32), of_position])[0]
            self.graph.node("Where", [is_query, of_position, one], names=["query_factors"])
        return self.multiply(qkv, "query_factors")

    def split(self, x: str) -> tuple[str, str]:
        first, second = self.graph.node("Split", [x], outputs=2, axis=-1, num_outputs=2)
        return first, second

    def pick_rows(self, x: str) -> str:
        return self.graph.node("Gather", [x, "rows"], axis=1)[0]

    def multiply(self, a: str, b: str) -> str:
        return self.graph.node("Mul", [a, b])[0]

    def add(self, a: str, b: str) -> str:
        return self.graph.node("Add", [a, b])[0]

    def join_patches(self, x: str, count: int, width: int) -> str:
        shape = self.graph.constant("joined_shape", [-1, count * width], np.int64)
        return self.graph.node("Reshape", [x, shape])[0]

    def best_outputs(self) -> None:
        """`best` (R, 1) int64, the likeliest token of each row of `logits`, and `best_logit` (R, 1) float32."""
        one = self.graph.constant("one", [1], np.int64)
        self.graph.node("TopK", ["logits", one], names=["best_logit", "best"], axis=-1)
        for name, dtype in (("best_logit", "float32"), ("best", "int64")):
            self.graph.output(name, dtype, ("R", 1))

    def first_row(self, x: str) -> str:
        """`(1, R, hidden)` -> `(R, hidden)`."""
        return self.graph.node("Squeeze", [x, self.graph.constant("first", [0], np.int64)])[0]

    def block_sums(self, x: str, columns: int, size: int) -> str:
        """Sums of `size` consecutive columns: `(..., K)` -> `(T, K / size)`. Made once for each `x`."""
        name = f"{x}.sums{size}"
        if not self.graph.has(name):
            shape = self.graph.constant(f"blocks.{columns}.{size}", [-1, columns // size, size], np.int64)
            axis = self.graph.constant("last_axis", [-1], np.int64)
            blocks = self.graph.node("Reshape", [x, shape])[0]
            self.graph.node("ReduceSum", [blocks, axis], names=[name], keepdims=0)
        return name
