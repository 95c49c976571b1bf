"""Bundles of any shape without a checkpoint, for benchmarks and tests: random integers, weights of a sensible size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.filling import Progress
from lineside.export.bundle.writer import write_bundle
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import MissingPart
from lineside.export.network.config import NetworkConfig
from lineside.export.network.family import FAMILY
from lineside.export.network.shapes import tensor_shapes
from lineside.runtime.text.tokenizer import Tokenizer

SLICE_ROWS = 4096
TILE = 1_048_583
"""Random integers that are made once and repeated: making billions of them would take longer than the export. A prime,
so that no row is like the next."""

MISTRAL_SMALL = FAMILY["mistral-small-3.2"]
"""Mistral Small 3.2 24B, from its published config.json."""


@dataclass(frozen=True)
class RandomSource:
    """A `checkpoint.source.Source` of `network` that comes rounded as exports round: INT4 layers, INT8 tables."""

    network: NetworkConfig

    def __contains__(self, name: str) -> bool:
        return self._shape(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self._shape(name)
        if shape is None:
            raise MissingPart(f"a network of this kind has no {name}")
        return shape

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        """Norms are one, biases zero; matrices as `blocks` rounds them."""
        shape = self.shape(name)
        if len(shape) == 1:
            yield np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
            return
        block = self.block_format(name)
        if block is not None:
            for part in self.blocks(name):
                integers = part.integers.reshape(len(part.integers), -1, block.size).astype(np.float32)
                yield (integers * part.scales[..., None]).reshape(part.integers.shape)
            return
        columns = int(np.prod(shape[1:]))
        rng = _rng(name)
        for start in range(0, shape[0], SLICE_ROWS):
            rows = min(SLICE_ROWS, shape[0] - start)
            yield rng.normal(0, columns**-0.5, size=(rows, *shape[1:])).astype(np.float32)

    def block_format(self, name: str) -> BlockFormat | None:
        shape = self.shape(name)
        if len(shape) != 2 or name.startswith(("vision", "projector")):
            return None
        bits = 8 if "embed_tokens" in name or name.startswith("lm_head") else 4
        return BlockFormat(bits, 32, minima=False, half_scales=True)

    def blocks(self, name: str) -> Iterator[Blocks]:
        block, (count, columns) = self.block_format(name), self.shape(name)
        assert block is not None
        least, most = -(2 ** (block.bits - 1)), 2 ** (block.bits - 1)
        rng = _rng(name)
        tile = rng.integers(least, most, size=TILE, dtype=np.int8)
        spread = np.float32(columns**-0.5 / (most / 3**0.5))  # of uniform integers, so that products keep their size
        for start in range(0, count, SLICE_ROWS):
            rows = min(SLICE_ROWS, count - start)
            integers = np.resize(tile, (rows, columns))
            scales = rng.uniform(0.5, 1.5, size=(rows, columns // block.size)).astype(np.float32) * spread
            yield Blocks(integers, scales.astype(np.float16).astype(np.float32), None)

    def stamp(self) -> str:
        return repr(self.network)

    def names(self) -> Iterator[str]:
        yield from tensor_shapes(self.network)

    def _shape(self, name: str) -> tuple[int, ...] | None:
        return tensor_shapes(self.network).get(name)


def write_synthetic(
    target: Path, network: NetworkConfig, tokenizer: Path, *, layers: int = 0, progress: Progress | None = None
) -> Path:
    """A bundle of `network`, or of its first `layers` layers, with random weights.

    Args:
        tokenizer: a tekken.json; the vocabulary becomes as large as it.

    Raises ExportError as `export_bundle` does.
    """
    size = Tokenizer(tokenizer).vocab_size
    decoder = replace(network.decoder, vocab_size=size, num_hidden_layers=layers or network.decoder.num_hidden_layers)
    network = replace(network, decoder=decoder)
    source = RandomSource(network)
    return write_bundle(source, network, tokenizer, "synthetic", target, progress=progress)


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))
