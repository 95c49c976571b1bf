"""Running a finished graph a piece at a time, so that no more than a piece's weights are in memory.

Each piece is loaded once and takes all passes in their order: the second pass of a layer needs nothing of the first but
the layer's own keys and values. So every layer of a large model computes what it will compute on its target, with the
operators and the weight file that it will have there, in the memory of one. A weight that is cast when it is loaded is
cast in every piece that uses it: an operator packs only what it is given as a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from lineside.export.graph.int8_cache import used_names
from lineside.runtime.manifest import Manifest
from lineside.runtime.sessions.ort import failed, load_graph

Array = npt.NDArray[np.generic]
PIECE_BYTES = 1 << 30
"""Weights of a piece. ONNX Runtime packs a copy of them: loaded, they take up to twice as much."""
PAST, PRESENT = "past.", "present."


def decoder_pass(
    manifest: Manifest, ids: npt.NDArray[np.int64], past: int, image_embeds: npt.NDArray[np.float32] | None = None
) -> dict[str, Array]:
    """What the decoder is fed for tokens `(T,)` behind `past` others; it gives the logits of the last, `(1, vocab)`."""
    inputs: dict[str, Array] = {
        "ids": ids[None],
        "rows": np.array([len(ids) - 1], np.int64),
        "seqlens": np.array([past + len(ids) - 1], np.int32),
        "total": np.array(past + len(ids), np.int32),
    }
    if manifest.image is not None:
        shown = image_embeds if image_embeds is not None and len(image_embeds) else None
        inputs["image_embeds"] = np.zeros((1, manifest.hidden_size), np.float32) if shown is None else shown
    return inputs


def empty_caches(manifest: Manifest, capacity: int) -> dict[str, Array]:
    """`past` inputs `(1, kv_heads, capacity, head_dim)` by their names."""
    kv = manifest.kv
    shape = (1, kv.num_key_value_heads, capacity, kv.head_dim)
    names = (f"{PAST}{layer}.{part}" for layer in range(kv.num_hidden_layers) for part in ("key", "value"))
    return {name: np.zeros(shape, kv.dtype) for name in names}


def run_in_pieces(
    path: Path, passes: Sequence[dict[str, Array]], caches: dict[str, Array] | None = None
) -> list[dict[str, Array]]:
    """The graph's outputs of each pass.

    Args:
        path: of the graph; its pieces are written beside it, one after the other, and removed.
        passes: the inputs of each by their names, but for `caches`.
        caches: by the names of their inputs, what each pass finds there; left as the last pass leaves them.

    Raises EngineError as sessions do.
    """
    model = onnx.load(str(path), load_external_data=False)
    wanted = {output.name for output in model.graph.output if not output.name.startswith(PRESENT)}
    known: list[dict[str, Array]] = [dict(inputs) for inputs in passes]
    caches = {} if caches is None else caches
    casts = _casts(model)
    pieces = list(_cut(model, casts))
    for number, nodes in enumerate(pieces):
        later = {name for piece in pieces[number + 1 :] for node in piece for name in used_names(node)}
        later = later - casts.keys() | wanted
        needed = dict.fromkeys(name for node in nodes for name in used_names(node) if name in casts)
        piece = _piece(model, [*(casts[name] for name in needed), *nodes], known[0] | caches, later)
        _run_piece(piece, path, known, caches)
        for values in known:
            for name in values.keys() - later:
                del values[name]
    return known


def _run_piece(piece: onnx.ModelProto, path: Path, known: list[dict[str, Array]], caches: dict[str, Array]) -> None:
    """Every pass of one piece; what it gives is added to `known` and put into `caches`."""
    part = path.with_name(f"{path.stem}.piece.onnx")
    try:
        part.write_bytes(piece.SerializeToString())
        session = load_graph(part, threads=0)
    finally:
        part.unlink(missing_ok=True)
    inputs = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    for values in known:
        try:
            found = session.run(outputs, {name: caches[name] if name in caches else values[name] for name in inputs})
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types here
            raise failed(error) from error
        for name, array in zip(outputs, found, strict=True):
            if name.startswith(PRESENT):
                caches[PAST + name.removeprefix(PRESENT)] = array
            else:
                values[name] = array


def _casts(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The nodes that cast a weight, by the names of their outputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {node.output[0]: node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in weights}


def _cut(model: onnx.ModelProto, casts: Mapping[str, onnx.NodeProto]) -> Iterator[list[onnx.NodeProto]]:
    """The nodes in their order but for `casts`, so many at a time that their weights stay below `PIECE_BYTES`, but at
    least one.
    """
    sizes = {tensor.name: _stored_bytes(tensor) for tensor in model.graph.initializer}
    sizes |= {name: sizes[node.input[0]] for name, node in casts.items()}
    piece: list[onnx.NodeProto] = []
    weights: set[str] = set()
    for node in (node for node in model.graph.node if node.output[0] not in casts):
        needed = weights | (sizes.keys() & used_names(node))
        if piece and sum(sizes[name] for name in needed) > PIECE_BYTES:
            yield piece
            piece, needed = [], sizes.keys() & used_names(node)
        piece.append(node)
        weights = needed
    yield piece


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    """Of a weight in the weight file; 0 for a constant of the graph file."""
    return next((int(field.value) for field in tensor.external_data if field.key == "length"), 0)


def _piece(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], known: dict[str, Array], later: set[str]
) -> onnx.ModelProto:
    """A model of these nodes. Types of what comes from earlier pieces are those that came; its outputs find theirs."""
    used = {name for node in nodes for name in used_names(node)}
    made = [name for node in nodes for name in node.output if name and (name in later or name.startswith(PRESENT))]
    fed = {name: known[name] for name in sorted(used & known.keys())}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
        for name, array in fed.items()
    ]
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in used]
    outputs = [onnx.ValueInfoProto(name=name) for name in made]
    graph = helper.make_graph(nodes, model.graph.name, inputs, outputs, initializers)
    piece = helper.make_model(graph, opset_imports=list(model.opset_import), producer_name=model.producer_name)
    piece.ir_version = model.ir_version
    return piece
