"""A bundle's decoder with exact activations: what its weights are worth, apart from how fast kernels round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from lineside.runtime.sessions.ort import CPU, CPU_GRAPH, session_options

Float32 = npt.NDArray[np.float32]


class ExactDecoder:
    """Gives the logits behind each of some tokens, `(T, vocab)`, in one pass.

    Args:
        weights: initializers by name, in place of the bundle's.
    """

    def __init__(self, bundle: Path, weights: Mapping[str, Float32] | None = None) -> None:
        model = onnx.load(str(bundle / CPU_GRAPH), load_external_data=False)
        for attribute in (a for node in model.graph.node for a in node.attribute):
            if attribute.name == "accuracy_level":
                attribute.i = 0
        options = session_options(0)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(bundle))
        self._kept = {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in (weights or {}).items()}
        for name, value in self._kept.items():
            options.add_initializer(name, value)
        self._session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])

    def __call__(self, ids: Sequence[int]) -> Float32:
        count = len(ids)
        given = {
            "ids": np.asarray([ids], np.int64),
            "rows": np.arange(count),
            "seqlens": np.asarray([count - 1], np.int32),
            "total": np.asarray(count, np.int32),
        }
        for value in self._session.get_inputs():
            if value.name.startswith("past."):
                _, heads, _, size = value.shape
                given[value.name] = np.zeros((1, heads, count, size), np.float32)
        (logits,) = self._session.run(["logits"], given)
        return np.asarray(logits, np.float32)


def layer_bytes(bundle: Path, vocab_size: int) -> tuple[int, int]:
    """Bytes and weights of the matrices in a bundle's layers, as they lie in its file."""
    graph = onnx.load(str(bundle / CPU_GRAPH), load_external_data=False).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    size = weights = 0
    for node in graph.node:
        shape = {a.name: a.i for a in node.attribute}
        if node.op_type == "MatMulNBits" and shape["N"] != vocab_size:
            weights += shape["N"] * shape["K"]
            size += sum(_bytes(stored[name]) for name in _sources(node.input[1:], stored, made))
    return size, weights


def _sources(
    names: Sequence[str], stored: Mapping[str, onnx.TensorProto], made: Mapping[str, onnx.NodeProto]
) -> Iterator[str]:
    """Initializers behind these tensors, whatever is computed of them on the way."""
    for name in names:
        if name in stored:
            yield name
        elif name in made:
            yield from _sources(made[name].input, stored, made)


def _bytes(tensor: onnx.TensorProto) -> int:
    return next((int(entry.value) for entry in tensor.external_data if entry.key == "length"), 0)
