"""Attention over an INT8 KV cache in the `ort` dialect: two ways, chosen by how many tokens a pass has.

ONNX Runtime's kernel for an INT8 cache (1.32, AVX2) turns every key and value back into floats once for each query. So
a pass of few tokens uses it as it stands: it reads a quarter of the bytes. A pass of many turns the past back once,
attends in float32, and rounds its own keys and values once, into the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from lineside.export.graph.kv import KVFormat
from lineside.export.graph.writer import MICROSOFT, GraphWriter
from lineside.export.network.config import DecoderConfig

OPSET = 24
"""The first with TensorScatter."""
FEW_TOKENS = 16
"""Up to so many ONNX Runtime's own kernel is as fast."""
PARTS = ("key", "value")
INT8_CACHE = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}
"""Attributes of GroupQueryAttention over such a cache."""


def scale_inputs(graph: GraphWriter, layer: int, kv: KVFormat) -> list[str]:
    """Names of the scales of a layer's keys and values, `(kv_heads * head_dim,)` each."""
    return [graph.constant(f"scale.{layer}.{part}", kv.scales[f"{layer}.{part}"], np.float32) for part in PARTS]


def int8_attention(
    graph: GraphWriter,
    qkv: str,
    layer: int,
    rotary: list[str],
    kv: KVFormat,
    config: DecoderConfig,
    attributes: Mapping[str, Any],
) -> str:
    """Attention `(1, T, heads * head_dim)` over the caches of a layer, whose names are those of `causal_attention`.

    `qkv` is `(1, T, (heads + 2 * kv_heads) * head_dim)` float32; `attributes` are those of GroupQueryAttention.
    """
    shape = (1, config.num_key_value_heads, 1, config.head_dim)
    for part in PARTS:
        scales = kv.scales[f"{layer}.{part}"]
        graph.constant(f"scale_heads.{layer}.{part}", scales.reshape(shape), np.float32)
        graph.constant(f"scale_inverse.{layer}.{part}", 1 / scales.astype(np.float64).reshape(shape), np.float32)
    names = [f"attended.{layer}", *(f"present.{layer}.{part}" for part in PARTS)]
    few = _few(layer, [qkv, "", ""], [*rotary, "", "", "", *scale_inputs(graph, layer, kv)], attributes)
    branches = {"then_branch": _many(layer, qkv, rotary, attributes), "else_branch": few}
    return graph.node("If", [_is_many(graph, qkv)], names=names, **branches)[0]


def _is_many(graph: GraphWriter, qkv: str) -> str:
    """Whether a pass has many tokens; also makes `kv.past` and `kv.total`, (1) int64: tokens before and behind it."""
    if not graph.has("kv.many"):
        graph.require_opset(OPSET)
        for name, value in {"kv.0": [0], "kv.2": [2], "kv.flat": [-1], "kv.few": [FEW_TOKENS]}.items():
            graph.constant(name, value, np.int64)
        graph.constant("kv.one", 1, np.float32)
        graph.constant("kv.zero", 0, np.int8)
        tokens = graph.node("Shape", [qkv], start=1, end=2)[0]
        graph.node("Reshape", [graph.node("Cast", ["total"], to=TensorProto.INT64)[0], "kv.flat"], names=["kv.total"])
        graph.node("Sub", ["kv.total", tokens], names=["kv.past"])
        graph.node("Greater", [tokens, "kv.few"], names=["kv.many"])
    return "kv.many"


def _few(layer: int, before: list[str], behind: list[str], attributes: Mapping[str, Any]) -> onnx.GraphProto:
    """`before` and `behind`: the operator's inputs before the caches, and behind the lengths."""
    inputs = [*before, *(f"past.{layer}.{part}" for part in PARTS), "seqlens", "total", *behind]
    outputs = [f"few.{layer}.{part}" for part in ("attended", *PARTS)]
    node = helper.make_node("GroupQueryAttention", inputs, outputs, domain=MICROSOFT, **attributes, **INT8_CACHE)
    return _branch(f"few.{layer}", [node], outputs)


def _many(layer: int, qkv: str, rotary: list[str], attributes: Mapping[str, Any]) -> onnx.GraphProto:
    def name(what: str, part: str) -> str:
        return f"many.{layer}.{part}.{what}"

    nodes = []
    for part in PARTS:
        stored, cast, past = (name(what, part) for what in ("stored", "cast", "past"))
        nodes += [
            helper.make_node("Slice", [f"past.{layer}.{part}", "kv.0", "kv.past", "kv.2"], [stored]),
            helper.make_node("Cast", [stored], [cast], to=TensorProto.FLOAT),
            helper.make_node("Mul", [cast, f"scale_heads.{layer}.{part}"], [past]),
        ]
    outputs = [f"many.{layer}.attended", *(name("cache", part) for part in PARTS)]
    inputs = [qkv, "", "", *(name("past", part) for part in PARTS), "seqlens", "total", *rotary]
    made = [outputs[0], *(name("made", part) for part in PARTS)]
    nodes.append(helper.make_node("GroupQueryAttention", inputs, made, domain=MICROSOFT, **attributes))
    for part in PARTS:
        new, scaled, rounded = (name(what, part) for what in ("new", "scaled", "rounded"))
        cache = [f"past.{layer}.{part}", rounded, "kv.past"]
        nodes += [
            helper.make_node("Slice", [name("made", part), "kv.past", "kv.total", "kv.2"], [new]),
            helper.make_node("Mul", [new, f"scale_inverse.{layer}.{part}"], [scaled]),
            helper.make_node("QuantizeLinear", [scaled, "kv.one", "kv.zero"], [rounded]),
            helper.make_node("TensorScatter", cache, [name("cache", part)], axis=2),
        ]
    return _branch(f"many.{layer}", nodes, outputs)


def _branch(name: str, nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.GraphProto:
    """A subgraph that gives attention and both caches."""
    types = (TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT8)
    values = [helper.make_tensor_value_info(*each, None) for each in zip(outputs, types, strict=True)]
    return helper.make_graph(nodes, name, [], values)


def used_names(node: onnx.NodeProto) -> set[str]:
    """The inputs of a node, and what its branches take from the graph around them."""
    inner = (used_names(each) for attribute in node.attribute for each in attribute.g.node)
    return set(node.input).union(*inner)
