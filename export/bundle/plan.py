"""What goes into a bundle: its weight files are laid out once, and every graph is emitted from that one plan."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lineside.export.calibration.sample import NAME as SAMPLE_NAME
from lineside.export.checkpoint.source import Source
from lineside.export.errors import Unsupported
from lineside.export.graph.kv import FLOAT_KV, KVFormat
from lineside.export.graph.ort import OPSET, OrtOps
from lineside.export.graph.weights import Precision, Weight, WeightPlan
from lineside.export.graph.writer import GraphWriter
from lineside.export.network.config import DecoderConfig, NetworkConfig
from lineside.export.network.decoder import emit_decoder
from lineside.export.network.vision import emit_vision
from lineside.export.quantize.rounder import CALIBRATED, Method
from lineside.runtime.manifest import CARRIED_OVER, METHODS, NO_ROUNDING, Quantizer, Target

Dtype = Literal["float32", "float16"]
"""Of a graph's activations: float32 for a CPU, float16 for a GPU."""
TABLE: Precision = "int4"
HEAD: Precision = "int4"
"""Where nothing else is asked for. BENCHMARKS.md has what the 4 bits cost a small model whose head is its table, and an
export that measures too much of it says so."""


@dataclass(frozen=True)
class Precisions:
    """Number formats: the decoder's and the tower's matrices, the embedding table, and the head; None for the usual.

    The tower keeps 8 bits because it is small beside the decoder and every later token depends on it.

    `accuracy_level` 4 rounds the decoder's activations to 8 bits per block of 32, which is what makes decoding fast on
    a CPU. The tower works on hundreds of patches at once, where exact activations cost nothing: it keeps level 0.
    `method` is how the decoder's INT4 is rounded: with zero points where the `target` is a CPU alone. Those of its
    matrices that lose most by it have the format `sensitive`.
    """

    decoder: Precision = "int4"
    vision: Precision = "int8"
    embedding: Precision | None = None
    head: Precision | None = None
    accuracy_level: int = 4
    method: Method = "gptq"
    target: Target = "any"
    sensitive: Precision = "int4"

    @property
    def symmetric(self) -> bool:
        """Zero points are for a CPU alone."""
        return self.target == "any"

    def outer(self, *, tied: bool) -> tuple[Precision, Precision]:
        """Of the table and of the head, which are one where they are tied. Raises Unsupported where that can't be."""
        if not tied:
            return self.embedding or TABLE, self.head or HEAD
        found = self.head or self.embedding or HEAD
        if self.embedding not in (None, found):
            asked = f"--embedding {self.embedding} and --head {found}"
            raise Unsupported(f"{asked}: this model's head is its embedding table; give one of them, or both alike")
        return found, found


OUTER = {"embed": "embedding", "lm_head": "head"}
"""What a manifest calls these matrices. A head that is the table is not there."""
PRECISIONS = {"int4": Precisions(), "float32": Precisions("float32", "float32", "float32", "float32")}


SENSITIVE_SHARE = 0.0625
"""Of a layer stack's weights: with 8 bits instead of 4 they bring a weight from 4.5 to 4.75 bits."""


def sensitive_matrices(config: DecoderConfig) -> Iterator[str]:
    """`down` of the outermost layers, as many as `SENSITIVE_SHARE` has room for."""
    query, inner = config.num_attention_heads * config.head_dim, config.intermediate_size
    layer = 2 * query + 2 * config.num_key_value_heads * config.head_dim + 3 * inner
    count = int(SENSITIVE_SHARE * config.num_hidden_layers * layer / inner)
    last = config.num_hidden_layers - 1
    outermost = sorted(range(last + 1), key=lambda index: min(index, last - index))
    yield from (f"decoder.layers.{index}.mlp.down" for index in outermost[:count])


@dataclass(frozen=True)
class Planned:
    """The weight files by the names of their graphs, `vision` before `decoder`, and the graphs that read them.

    All graphs of a name share its file: the layout is the same whatever the types of cache and activations.
    """

    checkpoint: Source
    network: NetworkConfig
    precisions: Precisions
    files: Mapping[str, WeightPlan]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    def vision(self, dtype: Dtype = "float32") -> GraphWriter | None:
        """Emit the tower and the projector; None for a model without them."""
        if self.network.vision is None:
            return None
        graph = GraphWriter("vision", self.files["vision"], OPSET)
        ops = OrtOps(graph, self.precisions.vision, *self._outer, 0, self.checkpoint, dtype=dtype)
        emit_vision(ops, self.network.vision, self.network.decoder.hidden_size)
        return graph

    def decoder(self, kv: KVFormat = FLOAT_KV, dtype: Dtype = "float32", *, exact: bool = False) -> GraphWriter:
        """Emit the decoder; an `exact` one does not round activations, as none in float16 does."""
        graph = GraphWriter("decoder", self.files["decoder"], OPSET)
        level = 0 if exact or dtype == "float16" else self.precisions.accuracy_level  # CUDA has no 8-bit activations
        ops = OrtOps(graph, self.precisions.decoder, *self._outer, level, self.checkpoint, kv, dtype)
        ops.zero_points = not self.precisions.symmetric
        if self.precisions.sensitive != self.precisions.decoder == "int4":
            ops.finer = frozenset(sensitive_matrices(self.network.decoder))
        emit_decoder(ops, self.network)
        return graph

    @property
    def _outer(self) -> tuple[Precision, Precision]:
        return self.precisions.outer(tied=self.network.decoder.tied_embeddings)

    def graphs(self, kv: KVFormat = FLOAT_KV, dtype: Dtype = "float32") -> list[GraphWriter]:
        """Emit the tower, where there is one, and the decoder."""
        return [graph for graph in (self.vision(dtype), self.decoder(kv, dtype)) if graph is not None]

    @property
    def fitted(self) -> bool:
        """Whether some matrix is rounded to what it is multiplied with."""
        return any(map(self.fits, self.files["decoder"].weights.values()))

    def fits(self, weight: Weight) -> bool:
        """Whether a quantizer that knows its inputs rounds this one: it comes in floats and is multiplied in 4 bits."""
        multiplied = weight.name != "embed" or self.network.decoder.tied_embeddings
        return self.precisions.method in CALIBRATED and weight.form == "int4" and weight.carried is None and multiplied

    def formats(self) -> dict[str, str]:
        """How the matrices of each part are stored; several formats are joined by `+`."""
        found: dict[str, set[str]] = {}
        for part, weight in self._matrices():
            found.setdefault(part, set()).add(weight.form if weight.form in METHODS else "float32")
        return {part: "+".join(sorted(forms)) for part, forms in found.items()}

    def quantizer(self) -> dict[str, tuple[Quantizer, ...]]:
        """How the matrices of each part are rounded; of several ways that of most weights first."""
        found: dict[str, Counter[Quantizer]] = {}
        for part, weight in self._matrices():
            found.setdefault(part, Counter())[self._quantizer(weight)] += math.prod(weight.shape)
        return {part: tuple(way for way, _ in ways.most_common()) for part, ways in found.items()}

    def _quantizer(self, weight: Weight) -> Quantizer:
        if weight.form not in METHODS:
            return Quantizer(NO_ROUNDING, 32)
        method, bits = METHODS[weight.form]
        scales: Literal["float16", "float32"] = "float16" if weight.slots[1].dtype == np.float16 else "float32"
        if weight.carried is not None:
            return Quantizer(CARRIED_OVER, bits, weight.block_size, weight.carried.symmetric, scales=scales)
        if self.fits(weight):
            return Quantizer(self.precisions.method, bits, weight.block_size, not weight.has_zeros, SAMPLE_NAME, scales)
        if weight.zeros and self.precisions.method == "hqq":
            method = "hqq"
        return Quantizer(method, bits, weight.block_size, not weight.has_zeros, scales=scales)

    def _matrices(self) -> Iterator[tuple[str, Weight]]:
        for name, file in self.files.items():
            for weight in file.weights.values():
                if weight.form != "plain" or weight.name in OUTER:
                    yield OUTER.get(weight.name, name), weight


def plan(checkpoint: Source, network: NetworkConfig, precisions: Precisions) -> Planned:
    """Lay out the weight files without reading any weight.

    Raises:
        MissingPart, Unsupported: a tensor is missing, or has another shape than the network asks for.
    """
    names = ("decoder",) if network.vision is None else ("vision", "decoder")
    planned = Planned(checkpoint, network, precisions, {name: WeightPlan(f"{name}.data") for name in names})
    planned.graphs()
    for file in planned.files.values():
        file.check(checkpoint)
        file.closed = True
    return planned
