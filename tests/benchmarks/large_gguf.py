"""The decoder of a bundle as a GGUF file for llama.cpp: the same integers, in blocks of Q4_0 and Q8_0."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from lineside.export.exported import Exported, ExportedGraph, Rounded
from lineside.runtime.bundle import open_bundle

Stored = npt.NDArray[np.uint8]


def write_gguf(bundle: Path, target: Path) -> None:
    """Scales become float16. The rows of queries and keys stay in the bundle's order, where llama.cpp rotates pairs of
    neighbours: the numbers that come out are others, in the same time. There is no tokenizer.
    """
    exported = Exported(open_bundle(bundle))
    network, graph = exported.network.decoder, exported.decoder
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_block_count(network.num_hidden_layers)
    writer.add_context_length(network.context_length)
    writer.add_embedding_length(network.hidden_size)
    writer.add_feed_forward_length(network.intermediate_size)
    writer.add_head_count(network.num_attention_heads)
    writer.add_head_count_kv(network.num_key_value_heads)
    writer.add_key_length(network.head_dim)
    writer.add_value_length(network.head_dim)
    writer.add_rope_dimension_count(network.head_dim)
    writer.add_layer_norm_rms_eps(network.rms_norm_eps)
    writer.add_vocab_size(network.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    hidden, queries = network.hidden_size, network.num_attention_heads * network.head_dim
    keys, wide = network.num_key_value_heads * network.head_dim, network.intermediate_size
    _put(writer, graph, "embed", hidden, {"token_embd": network.vocab_size})
    _put(writer, graph, "lm_head", hidden, {"output": network.vocab_size})
    _norm(writer, graph, "decoder.norm", "output_norm")
    for layer in range(network.num_hidden_layers):
        ours, theirs = f"decoder.layers.{layer}", f"blk.{layer}"
        _norm(writer, graph, f"{ours}.input_layernorm", f"{theirs}.attn_norm")
        _norm(writer, graph, f"{ours}.post_attention_layernorm", f"{theirs}.ffn_norm")
        rows = {f"{theirs}.attn_q": queries, f"{theirs}.attn_k": keys, f"{theirs}.attn_v": keys}
        _put(writer, graph, f"{ours}.self_attn.qkv", hidden, rows)
        _put(writer, graph, f"{ours}.self_attn.o", queries, {f"{theirs}.attn_output": hidden})
        rows = {f"{theirs}.ffn_gate": wide, f"{theirs}.ffn_up": wide}
        _put(writer, graph, f"{ours}.mlp.gate_up", hidden, rows)
        _put(writer, graph, f"{ours}.mlp.down", wide, {f"{theirs}.ffn_down": hidden})
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _norm(writer: gguf.GGUFWriter, graph: ExportedGraph, name: str, theirs: str) -> None:
    writer.add_tensor(f"{theirs}.weight", np.asarray(graph.array(f"{name}.weight"), np.float32))


def _put(writer: gguf.GGUFWriter, graph: ExportedGraph, name: str, columns: int, parts: dict[str, int]) -> None:
    """A matrix, cut into `parts` of so many rows."""
    rounded = graph.rounded(name, columns)
    kinds = gguf.GGMLQuantizationType
    kind = kinds.Q4_0 if rounded.bits == 4 else kinds.Q8_0
    stored, start = as_blocks(rounded), 0
    for theirs, rows in parts.items():
        writer.add_tensor(f"{theirs}.weight", stored[start : start + rows], raw_dtype=kind)
        start += rows


def as_blocks(rounded: Rounded) -> Stored:
    """`(N, K / 32 * bytes)`: each block a float16 scale, then 32 integers; of four bits column i beside i + 16."""
    rows, columns = rounded.integers.shape
    scales = rounded.scales.astype(np.float16)[..., None].view(np.uint8)
    integers = rounded.integers.reshape(rows, columns // 32, 32)
    if rounded.bits == 4:
        nibbles = (integers + 8).view(np.uint8)
        packed = nibbles[..., :16] | (nibbles[..., 16:] << 4)
    else:
        packed = integers.view(np.uint8)
    return np.asarray(np.concatenate([scales, packed], axis=-1).reshape(rows, -1), np.uint8)
