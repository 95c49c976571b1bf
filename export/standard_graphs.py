"""The graphs of a bundle once more, in the `standard` dialect: what TensorRT engines are built from."""

from __future__ import annotations

from pathlib import Path

from export.exported import Exported, ExportedGraph
from export.graph.standard import OPSET, Dtype, StandardOps
from export.graph.weights import WeightPlan
from export.graph.writer import GraphWriter
from export.network.decoder import emit_decoder
from export.network.vision import emit_vision


def write_decoder(exported: Exported, folder: Path, cache_length: int, dtype: Dtype = "float32") -> Path:
    """Write `decoder.standard.onnx` for a cache of `cache_length` tokens, and its weights; returns its path.

    Raises Unsupported for integers that TensorRT would compute wrong.
    """
    ops = _ops("decoder", exported.decoder, dtype, cache_length)
    emit_decoder(ops, exported.network)
    return _write(ops.graph, folder)


def write_vision(exported: Exported, folder: Path, dtype: Dtype = "float32") -> Path | None:
    """Write `vision.standard.onnx` and its weights; None for a model without a tower."""
    vision = exported.network.vision
    if vision is None or exported.vision is None:
        return None
    ops = _ops("vision", exported.vision, dtype, 0)
    emit_vision(ops, vision, exported.network.decoder.hidden_size)
    return _write(ops.graph, folder)


def _ops(name: str, weights: ExportedGraph, dtype: Dtype, cache_length: int) -> StandardOps:
    graph = GraphWriter(f"{name}.standard", WeightPlan(f"{name}.standard.data"), OPSET)
    return StandardOps(graph, weights, dtype, cache_length)


def _write(graph: GraphWriter, folder: Path) -> Path:
    path = folder / f"{graph.name}.onnx"
    with (folder / graph.plan.file_name).open("wb") as file:
        for slot, compute in graph.plan.tables.values():
            file.seek(slot.offset)
            file.write(compute().astype(slot.dtype).tobytes())
    graph.save(path)
    return path
