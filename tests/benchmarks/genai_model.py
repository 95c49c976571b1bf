"""The benchmark's model in the shape that onnxruntime-genai wants: its input names, a mask instead of lengths.

The network is Lineside's own description of it and the operators are the same, so that the peer runs on the same
kernels. The weights are what onnxruntime-genai's builder makes of the floats by default for a CPU: symmetric INT4 in
blocks of 32, rounded by ONNX Runtime's own function; embedding table and head in 4 bits, too, in one piece; activations
rounded to 8 bits.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from onnxruntime.capi import onnxruntime_pybind11_state

from lineside.export.checkpoint.gguf import GgufCheckpoint
from lineside.export.graph.ort import OPSET, OrtOps
from lineside.export.graph.weights import Slot, Weight, WeightPlan, fill
from lineside.export.graph.writer import MICROSOFT, GraphWriter
from lineside.export.network.config import DecoderConfig, NetworkConfig
from lineside.export.network.decoder import emit_decoder

INT32 = 6
BLOCK = 32


class GenaiOps(OrtOps):
    """The `ort` dialect with onnxruntime-genai's inputs and outputs."""

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

    def embed(self, ids: str, config: DecoderConfig) -> str:
        shape = (config.vocab_size, config.hidden_size)
        weight = self.graph.plan.matrix("embed", ("decoder.embed_tokens.weight",), *shape, "int4")
        packed, scales = weight.slots
        table = self.graph.external(packed, name="embed.table", shape=(shape[0], shape[1] // 2))
        layout = {"bits": 4, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        return self.graph.contrib("GatherBlockQuantized", [table, ids, self._floats(scales)], layout)

    def head(self, hidden: str, config: DecoderConfig) -> None:
        logits = self._matmul_nbits(hidden, self.graph.plan.weights["embed"])
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


def write_genai_model(checkpoint: GgufCheckpoint, folder: Path, threads: int) -> Path:
    """Write `model.onnx`, its weights and `genai_config.json`, unless they are there."""
    if (folder / "genai_config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    network = checkpoint.config()
    graph = GraphWriter("model", WeightPlan("model.data"), OPSET)
    emit_decoder(GenaiOps(graph, "int4", "int4", "int4", 4, checkpoint), network)
    path = folder / graph.plan.file_name
    path.touch()
    os.truncate(path, graph.plan.size_bytes)
    with path.open("r+b") as file:
        for slot, compute in graph.plan.tables.values():
            _put(slot, compute(), file)
        for weight in graph.plan.weights.values():
            if weight.form == "int4":
                _round(weight, checkpoint, file)
            else:
                fill(weight, checkpoint, file)
    graph.save(folder / "model.onnx")
    (folder / "genai_config.json").write_text(json.dumps(_config(network.decoder, threads), indent=2))
    return folder


def _round(weight: Weight, checkpoint: GgufCheckpoint, file: BinaryIO) -> None:
    rows = np.concatenate([part for source in weight.sources for part in checkpoint.rows(source)])
    packed, scales = quantized_by_ort(rows)
    _put(weight.slots[0], packed, file)
    _put(weight.slots[1], scales, file)


def _put(slot: Slot, values: npt.NDArray[Any], file: BinaryIO) -> None:
    file.seek(slot.offset)
    file.write(values.astype(slot.dtype).tobytes())


def quantized_by_ort(rows: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """`(N, K)` as MatMulNBits takes it: integers + 8 `(N, K / 32, 16)`, and scales `(N, K / 32)`, many below 0."""
    count, columns = rows.shape
    packed = np.zeros((count, columns // BLOCK, BLOCK // 2), np.uint8)
    scales = np.zeros((count, columns // BLOCK), np.float32)
    unused = np.zeros((count, -(-columns // BLOCK // 2)), np.uint8)
    transposed = np.ascontiguousarray(rows.T)
    quantize: Any = onnxruntime_pybind11_state.quantize_matmul_4bits
    quantize(packed, transposed, scales, unused, BLOCK, count, columns, True)
    return packed, scales


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
