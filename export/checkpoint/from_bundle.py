"""The tensors of an exported bundle under the names of a checkpoint, so that training can go on from a bundle.

INT4 matrices that were trained rounded come back exactly; those of 8 bits as they were rounded at export.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.errors import Unsupported
from lineside.export.exported import Exported, ExportedGraph
from lineside.export.network.vision import merge_columns
from lineside.runtime.bundle import open_bundle, verify_hashes

STACKED = {"q_proj": ("qkv", 0), "k_proj": ("qkv", 1), "v_proj": ("qkv", 2), "gate_proj": ("gate_up", 0),
           "up_proj": ("gate_up", 1)}  # fmt: skip
"""Which exported matrix holds a projection, and at which place of it."""
MERGER = "projector.patch_merger.merging_layer.weight"


def read_bundle(bundle: Path, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Every tensor of `shapes`, by Lineside's names, as float32 of its shape.

    Raises Unsupported where the bundle has another shape, EngineError where it is damaged.
    """
    opened = open_bundle(bundle)
    verify_hashes(opened)
    exported = Exported(opened)
    for name, shape in shapes.items():
        found = _tensor(exported, name, shapes)
        if found.size != np.prod(shape):
            raise Unsupported(f"{bundle} has {name} with {found.size} numbers, {shape} are wanted")
        yield name, np.array(found, np.float32).reshape(shape)


def _tensor(exported: Exported, name: str, shapes: Mapping[str, tuple[int, ...]]) -> npt.NDArray[np.float32]:
    graph = exported.vision if name.startswith(("vision", "projector")) else exported.decoder
    if graph is None:
        raise Unsupported(f"{exported.bundle.path} has no vision tower")
    shape = shapes[name]
    if len(shape) == 1:
        return np.asarray(graph.array(name), np.float32)
    columns = int(np.prod(shape[1:]))
    if name == "decoder.embed_tokens.weight":
        embedded = "embed.scales" in graph
        return graph.rounded("embed", columns).floats() if embedded else np.asarray(graph.array("embed"), np.float32)
    if name == MERGER:
        config = exported.network.vision
        assert config is not None
        merged = np.empty(shape, np.float32)
        merged[:, merge_columns(config)] = _matrix(graph, "projector.merger", columns)
        return merged
    path, _, projection = name.removesuffix(".weight").rpartition(".")
    if projection in STACKED and not (name.startswith("vision") and ".attention." in name):
        stack, place = STACKED[projection]
        before = [key for key, (other, at) in STACKED.items() if other == stack and at < place]
        start = sum(shapes[f"{path}.{key}.weight"][0] for key in before)
        return _matrix(graph, f"{path}.{stack}", columns)[start : start + shape[0]]
    return _matrix(graph, f"{path}.{projection.removesuffix('_proj')}", columns)


def _matrix(graph: ExportedGraph, name: str, columns: int) -> npt.NDArray[np.float32]:
    """`(rows, columns)`."""
    if f"{name}.scales" in graph:
        return graph.rounded(name, columns).floats()
    return np.asarray(graph.array(name), np.float32).T
