"""Reading an exported bundle back: its network's description, and its matrices as integers and scales.

So the `standard` graphs are made from a bundle alone, from the very integers that the `ort` graphs run on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lineside.export.errors import Unsupported
from lineside.export.network.config import DecoderConfig, NetworkConfig, VisionConfig
from lineside.export.network.rope import Divided, QueryScale, Rope
from lineside.export.zero_points import unpack_zeros
from lineside.runtime.bundle import Bundle

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Rounded:
    """A matrix `(N, K)` in blocks of `size` columns: `weight = scale * integer + minimum`.

    Attributes:
        integers: `(N, K)` int8; in [-8, 7] where `bits` is 4.
        scales: `(N, K / size)` float32.
        minima: `(K / size, N)` float32, or None.
    """

    bits: int
    size: int
    integers: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    minima: npt.NDArray[np.float32] | None

    def floats(self) -> npt.NDArray[np.float32]:
        """`(N, K)`."""
        rows, columns = self.integers.shape
        blocks = self.integers.reshape(rows, -1, self.size).astype(np.float32) * self.scales[..., None]
        if self.minima is not None:
            blocks += self.minima.T[..., None]
        return np.asarray(blocks.reshape(rows, columns), np.float32)


class ExportedGraph:
    """One graph of a bundle in the `ort` dialect. Weights are mapped into memory and read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._graph = onnx.load(str(path), load_external_data=False).graph
        self._tensors = {tensor.name: tensor for tensor in self._graph.initializer}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self) -> list[str]:
        """Of everything in the weight file."""
        external = onnx.TensorProto.EXTERNAL
        return [name for name, tensor in self._tensors.items() if tensor.data_location == external]

    def array(self, name: str) -> Array:
        """An initializer by its name."""
        tensor = self._tensors[name]
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor))
        fields = {entry.key: entry.value for entry in tensor.external_data}
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        path, offset = self._folder / fields["location"], int(fields["offset"])
        return np.memmap(path, dtype, "r", offset, tuple(tensor.dims))

    def rounded(self, name: str, columns: int) -> Rounded:
        """The matrix that is stored as `name`.packed (for the embedding also `name`.table), with its scales."""
        scales = np.asarray(self.array(f"{name}.scales"), np.float32)
        rows, size = scales.shape[0], columns // scales.shape[1]
        stored = self.array(f"{name}.packed" if f"{name}.packed" in self else f"{name}.table")
        packed = np.asarray(stored, np.uint8).reshape(rows, -1)
        bits = 8 * packed.shape[1] // columns
        integers = np.empty((rows, columns), np.int8)
        if bits == 4:
            integers[:, 0::2], integers[:, 1::2] = (packed & 15).view(np.int8) - 8, (packed >> 4).view(np.int8) - 8
        else:
            np.copyto(integers, (packed ^ 128).view(np.int8))
        minima = np.asarray(self.array(f"{name}.minima"), np.float32) if f"{name}.minima" in self else None
        if f"{name}.zeros" in self:
            zeros = unpack_zeros(np.asarray(self.array(f"{name}.zeros"), np.uint8), bits, scales.shape[1])
            minima = ((2.0 ** (bits - 1) - zeros) * scales).T.astype(np.float32)
        return Rounded(bits, size, integers, scales, minima)

    def attributes(self, *ops: str) -> Iterator[dict[str, Any]]:
        """Those of every node of these kinds, in order, with its own kind as `op`."""
        for node in self._graph.node:
            if node.op_type in ops:
                yield {"op": node.op_type} | {a.name: helper.get_attribute_value(a) for a in node.attribute}


@dataclass(frozen=True)
class Exported:
    """A bundle in the `ort` dialect with its graphs opened."""

    bundle: Bundle

    @cached_property
    def decoder(self) -> ExportedGraph:
        return ExportedGraph(self.bundle.file("decoder.onnx"))

    @cached_property
    def vision(self) -> ExportedGraph | None:
        return ExportedGraph(self.bundle.file("vision.onnx")) if self.bundle.manifest.image else None

    @cached_property
    def network(self) -> NetworkConfig:
        """What the graphs were emitted from. Raises Unsupported for a bundle in another dialect."""
        manifest = self.bundle.manifest
        if manifest.dialect != "ort":
            raise Unsupported(f"{self.bundle.path} is in the dialect {manifest.dialect}: export the checkpoint anew")
        norm = next(self.decoder.attributes("SimplifiedLayerNormalization"))
        decoder = DecoderConfig(
            hidden_size=manifest.hidden_size,
            intermediate_size=manifest.intermediate_size,
            num_hidden_layers=manifest.kv.num_hidden_layers,
            num_attention_heads=manifest.num_attention_heads,
            num_key_value_heads=manifest.kv.num_key_value_heads,
            head_dim=manifest.kv.head_dim,
            vocab_size=manifest.vocab_size,
            context_length=manifest.context_length,
            rms_norm_eps=norm["epsilon"],
            rope=self._rope(),
            tied_embeddings=manifest.tied_embeddings,
            query_scale=self._query_scale(),
        )
        return NetworkConfig(manifest.architecture, decoder, self._vision_config(), manifest.image_token_id)

    def _rope(self) -> Rope:
        """The frequencies one by one, whatever they were made from."""
        cos, sin = (np.asarray(self.decoder.array(f"rotary.{part}")[1], np.float64) for part in ("cos", "sin"))
        return Rope(1.0, Divided(tuple(1 / np.arctan2(sin, cos)), float(np.hypot(sin, cos)[0])))

    def _query_scale(self) -> QueryScale | None:
        if "query_scale" not in self.decoder:
            return None
        table = np.asarray(self.decoder.array("query_scale"), np.float64)[:, 0]
        (steps,) = np.nonzero(table > 1)
        original = int(steps[0]) if len(steps) else len(table)
        return QueryScale(float((table[original] - 1) / np.log(2)) if len(steps) else 0.0, original)

    def _vision_config(self) -> VisionConfig | None:
        image, graph = self.bundle.manifest.image, self.vision
        if image is None or graph is None:
            return None
        heads = [node["num_heads"] for node in graph.attributes("MultiHeadAttention")]
        kinds = ["gelu" if node["op"] == "Gelu" else "silu" for node in graph.attributes("Gelu", "QuickGelu")]
        norms = [node["epsilon"] for node in graph.attributes("SimplifiedLayerNormalization")]
        turn = np.asarray(graph.array("axial.sin")[image.grid_size], np.float64)
        head_dim = image.hidden_size // heads[0]
        return VisionConfig(
            hidden_size=image.hidden_size,
            intermediate_size=image.intermediate_size,
            num_hidden_layers=len(heads),
            num_attention_heads=heads[0],
            patch_size=image.patch_size,
            max_image_size=image.grid_size * image.patch_size,
            spatial_merge_size=image.spatial_merge_size,
            rope_theta=float(np.arcsin(turn[1]) ** (-head_dim / 4)),
            activation=kinds[0],
            projector_activation=kinds[-1],
            projector_bias="projector.linear_1.bias" in graph,
            feature_layer=len(heads),
            projector_norm_eps=norms[-1],
            merges="projector.norm.weight" in graph,
        )
