"""The graphs of a bundle once more, in the `standard` dialect: what TensorRT engines are built from."""

from __future__ import annotations

from pathlib import Path

from lineside.export.exported import Exported, ExportedGraph
from lineside.export.graph.standard import OPSET, Dtype, StandardOps
from lineside.export.graph.weights import WeightPlan
from lineside.export.graph.writer import GraphWriter
from lineside.export.network.decoder import emit_decoder
from lineside.export.network.vision import emit_vision


def decoder_graph(exported: Exported, cache_length: int, dtype: Dtype = "float32") -> GraphWriter:
    """The decoder for a cache of `cache_length` tokens; no weight is read before it is saved."""
    ops = _ops("decoder", exported.decoder, dtype, cache_length)
    emit_decoder(ops, exported.network)
    return ops.graph


def vision_graph(exported: Exported, dtype: Dtype = "float32") -> GraphWriter | None:
    """The tower and the projector; None for a model without them."""
    vision = exported.network.vision
    if vision is None or exported.vision is None:
        return None
    ops = _ops("vision", exported.vision, dtype, 0)
    emit_vision(ops, vision, exported.network.decoder.hidden_size)
    return ops.graph


def save_graph(graph: GraphWriter, folder: Path) -> Path:
    """Write the graph and its weights, one at a time; returns the graph's path.

    Raises Unsupported for integers that TensorRT would compute wrong.
    """
    path = folder / f"{graph.name}.onnx"
    with (folder / graph.plan.file_name).open("wb") as file:
        for slot, compute in graph.plan.tables.values():
            file.seek(slot.offset)
            file.write(compute().astype(slot.dtype).tobytes())
    graph.save(path)
    return path


def _ops(name: str, weights: ExportedGraph, dtype: Dtype, cache_length: int) -> StandardOps:
    return StandardOps(GraphWriter(name, WeightPlan(f"{name}.standard.data"), OPSET), weights, dtype, cache_length)
