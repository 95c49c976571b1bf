"""What a bundle's integers mean, computed in float64 with numpy alone: the yardstick for every session."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineside.export.exported import Exported, ExportedGraph

Float64 = npt.NDArray[np.float64]
ROWS = 4096
"""Of a matrix at a time, so that a layer of a large model fits."""


def logits(exported: Exported, ids: npt.NDArray[np.int64]) -> Float64:
    """Logits `(T, vocab)` of token ids `(T,)`; text only."""
    graph, config = exported.decoder, exported.network.decoder
    heads, kv, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim

    def normed(x: Float64, name: str) -> Float64:
        scale = np.sqrt(np.square(x).mean(-1, keepdims=True) + config.rms_norm_eps)
        return np.asarray(x / scale * graph.array(name), np.float64)

    cos, sin = (np.asarray(graph.array(f"rotary.{part}")[: len(ids), None], np.float64) for part in ("cos", "sin"))

    def turned(x: Float64) -> Float64:
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)

    seen = np.tril(np.ones((len(ids), len(ids)), bool))
    hidden = embedded(graph, ids, config.hidden_size)
    for layer in range(config.num_hidden_layers):
        at = f"decoder.layers.{layer}"
        x = normed(hidden, f"{at}.input_layernorm.weight")
        q, k, v = np.split(product(graph, x, f"{at}.self_attn.qkv"), [heads * size, (heads + kv) * size], axis=-1)
        if "query_scale" in graph:
            q = q * np.asarray(graph.array("query_scale")[: len(ids)], np.float64)
        q, k = (turned(part.reshape(len(ids), -1, size)) for part in (q, k))
        k, v = (np.repeat(part.reshape(len(ids), kv, size), heads // kv, axis=1) for part in (k, v))
        scores = np.where(seen, np.einsum("thd,shd->hts", q, k) * size**-0.5, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = np.einsum("hts,shd->thd", weights, v).reshape(len(ids), -1)
        hidden = hidden + product(graph, attended, f"{at}.self_attn.o")
        x = normed(hidden, f"{at}.post_attention_layernorm.weight")
        gate, up = np.split(product(graph, x, f"{at}.mlp.gate_up"), 2, axis=-1)
        hidden = hidden + product(graph, gate / (1 + np.exp(-gate)) * up, f"{at}.mlp.down")
    head = "lm_head" if "lm_head" in graph or "lm_head.scales" in graph else "embed"
    return product(graph, normed(hidden, "decoder.norm.weight"), head)


def product(graph: ExportedGraph, x: Float64, name: str) -> Float64:
    """`x @ W.T` of an exported matrix."""
    if f"{name}.scales" not in graph:
        stored = np.asarray(graph.array(name), np.float64)
        return np.asarray(x @ (stored if len(stored) == x.shape[-1] else stored.T), np.float64)
    matrix = graph.rounded(name, x.shape[-1])
    blocks = x.reshape(len(x), -1, matrix.size)
    y = np.empty((len(x), len(matrix.integers)))
    for start in range(0, y.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        integers = matrix.integers[rows].reshape(len(matrix.integers[rows]), -1, matrix.size).astype(np.float64)
        y[:, rows] = x @ (integers * matrix.scales[rows, :, None]).reshape(len(integers), -1).T
    return y if matrix.minima is None else y + blocks.sum(-1) @ matrix.minima.astype(np.float64)


def embedded(graph: ExportedGraph, ids: npt.NDArray[np.int64], columns: int) -> Float64:
    """Rows of the embedding table, `(T, columns)`."""
    if "embed.scales" not in graph:
        return np.asarray(graph.array("embed")[ids], np.float64)
    matrix = graph.rounded("embed", columns)
    integers = matrix.integers[ids].reshape(len(ids), -1, matrix.size).astype(np.float64)
    return np.asarray((integers * matrix.scales[ids, :, None]).reshape(len(ids), columns), np.float64)
