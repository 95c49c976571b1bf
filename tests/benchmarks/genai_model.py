"""The benchmark's model in the shape that onnxruntime-genai wants: its input names, a mask instead of lengths.

The network is Lineside's own description of it and the operators are the same, so that the peer runs on the same
kernels. Two variants: `exact` holds the same integers, scales and minima; `rounded` holds what people get from a
4-bit export: the float values rounded once more to symmetric INT4, head included, without minima. It computes less
and is worse.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.graph.ort import OPSET, OrtOps
from lineside.export.graph.weights import WeightPlan, fill
from lineside.export.graph.writer import MICROSOFT, GraphWriter
from lineside.export.network.config import DecoderConfig, NetworkConfig
from lineside.export.network.decoder import emit_decoder

INT32, INT64 = 6, 7


@dataclass(frozen=True)
class AsFloats:
    """A checkpoint whose rounded matrices are given as the floats they stand for."""

    inner: GgufCheckpoint

    def __contains__(self, name: str) -> bool:
        return name in self.inner

    def names(self) -> Iterator[str]:
        return self.inner.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.inner.shape(name)

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        return self.inner.rows(name)

    def block_format(self, name: str) -> BlockFormat | None:  # noqa: ARG002
        return None

    def blocks(self, name: str) -> Iterator[Blocks]:
        return self.inner.blocks(name)

    def stamp(self) -> str:
        return self.inner.stamp()


@dataclass
class GenaiOps(OrtOps):
    """The `ort` dialect with onnxruntime-genai's inputs and outputs."""

    int4_head: bool = False

    def decoder_inputs(self, config: NetworkConfig) -> tuple[str, str]:  # noqa: ARG002
        graph = self.graph
        ids = graph.input("input_ids", "int64", (1, "T"))
        mask = graph.input("attention_mask", "int64", (1, "total_length"))
        axis, one = graph.constant("axis_1", [1], np.int64), graph.constant("one", 1, np.int64)
        count = graph.node("ReduceSum", [mask, axis], keepdims=0)[0]
        graph.node("Cast", [graph.node("Sub", [count, one])[0]], names=["seqlens"], to=INT32)
        length = graph.node("Gather", [graph.node("Shape", [mask])[0], one], axis=0)[0]
        graph.node("Cast", [length], names=["total"], to=INT32)
        return ids, ""

    def pick_rows(self, x: str) -> str:
        return self.graph.node("Gather", [x, self.graph.constant("last", [-1], np.int64)], axis=1)[0]

    def head(self, hidden: str, config: DecoderConfig) -> None:
        if self.int4_head:
            source = ("decoder.embed_tokens.weight",)
            logits = self._matmul(hidden, "head.int4", source, config.vocab_size, config.hidden_size, "int4")
        else:
            embedding = self.graph.plan.weights["embed"]
            logits = self._matmul_nbits(hidden, embedding)
        self.graph.node("Identity", [logits], names=["logits"])
        self.graph.output("logits", "float32", (1, 1, config.vocab_size))

    def causal_attention(self, qkv: str, layer: int, config: DecoderConfig) -> str:
        graph = self.graph
        shape = (1, config.num_key_value_heads)
        parts = ("key", "value")
        past = [
            graph.input(f"past_key_values.{layer}.{p}", "float32", (*shape, "past", config.head_dim)) for p in parts
        ]
        present = [f"present.{layer}.{part}" for part in parts]
        for name in present:
            graph.output(name, "float32", (*shape, "total_length", config.head_dim))
        inputs = [qkv, "", "", *past, "seqlens", "total", *(self._rotary(config, part) for part in ("cos", "sin"))]
        graph.node(
            "GroupQueryAttention", inputs, domain=MICROSOFT, names=[f"attended.{layer}", *present],
            num_heads=config.num_attention_heads, kv_num_heads=config.num_key_value_heads,
            scale=config.head_dim**-0.5, do_rotary=1, rotary_interleaved=0,
        )  # fmt: skip
        return f"attended.{layer}"


def write_genai_model(checkpoint: GgufCheckpoint, folder: Path, *, rounded: bool, threads: int) -> Path:
    """Write `model.onnx`, its weights and `genai_config.json`, unless they are there."""
    if (folder / "genai_config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    network = checkpoint.config()
    graph = GraphWriter("model", WeightPlan("model.data"), OPSET)
    source = AsFloats(checkpoint) if rounded else checkpoint
    emit_decoder(GenaiOps(graph, "int4", "int8", "int8", 4, source, int4_head=rounded), network)
    path = folder / graph.plan.file_name
    path.touch()
    os.truncate(path, graph.plan.size_bytes)
    with path.open("r+b") as file:
        for slot, compute in graph.plan.tables.values():
            file.seek(slot.offset)
            file.write(compute().astype(slot.dtype).tobytes())
        for weight in graph.plan.weights.values():
            fill(weight, source, file)
    graph.save(folder / "model.onnx")
    (folder / "genai_config.json").write_text(json.dumps(_config(network.decoder, threads), indent=2))
    return folder


def _config(config: DecoderConfig, threads: int) -> dict[str, object]:
    decoder = {
        "session_options": {"intra_op_num_threads": threads, "log_severity_level": 3, "provider_options": []},
        "filename": "model.onnx",
        "head_size": config.head_dim,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    model = {
        "type": "llama",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
        "decoder": decoder,
    }
    search = {"past_present_share_buffer": True, "do_sample": False, "max_length": config.context_length}
    return {"model": model, "search": search}
