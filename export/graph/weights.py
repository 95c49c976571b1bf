"""The plan of a weight file: what goes where is known before the first tensor is read.

A plan is built while the first graph is emitted; every other graph that reads the same file finds its weights there.
It says how many bytes are needed, so that a full disk is found before the work starts, and it is filled one weight at a
time, so that a broken-off export goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from lineside.export.checkpoint.source import BlockFormat, Source
from lineside.export.errors import Unsupported
from lineside.export.graph.encode import Encoding
from lineside.export.quantize.blocks import BLOCK_SIZE, pack_int4, pack_int8
from lineside.export.quantize.rounder import ASYMMETRIC, INT4, INT8, Rounder
from lineside.export.zero_points import pack_zeros
from lineside.runtime.cores import usable_cores

Precision = Literal["int4", "int8", "float32"]
Array = npt.NDArray[np.generic]
Encoded = Encoding | npt.NDArray[np.float32]
"""Rows on their way into the file: being rounded, or as they are."""
ALIGNMENT = 4096


@dataclass(frozen=True)
class Slot:
    """A stretch of the data file: one initializer, or two that read the same bytes by different shapes."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Weight:
    """One matrix or vector of the network and the slots that hold it.

    Attributes:
        sources: checkpoint tensors, stacked by rows.
        form: how it is stored; `transposed` is float32 `(K, N)` for a plain MatMul.
        column_order: the source's columns in the order in which the graph expects them.
        carried: the blocks of a source that comes rounded, stored as they are; in a third slot minima `(K / size, N)`,
            or zero points `(N, K / size)` in uint8, two of four bits in a byte.
        zeros: whether it is rounded here with zero points, which lie in a third slot.
    """

    name: str
    sources: tuple[str, ...]
    form: Literal["int4", "int8", "transposed", "plain"]
    shape: tuple[int, ...]
    slots: tuple[Slot, ...]
    column_order: npt.NDArray[np.int64] | None = None
    carried: BlockFormat | None = None

    zeros: bool = False

    @property
    def block_size(self) -> int:
        return self.carried.size if self.carried else BLOCK_SIZE

    @property
    def has_zeros(self) -> bool:
        return self.carried.zeros if self.carried else self.zeros

    @property
    def rounder(self) -> Rounder | None:
        """How it is rounded where nothing is known of its inputs; None where it stays as it is."""
        if self.form == "int4":
            return ASYMMETRIC if self.zeros else INT4
        return INT8 if self.form == "int8" else None


@dataclass
class WeightPlan:
    """Weights by name in file order, and tables that are computed rather than read.

    A weight or table that is asked for again is the one that lies there. Once `closed`, nothing new finds room.
    """

    file_name: str
    weights: dict[str, Weight] = field(default_factory=dict)
    tables: dict[str, tuple[Slot, Callable[[], Array]]] = field(default_factory=dict)
    size_bytes: int = 0
    closed: bool = False

    def matrix(
        self,
        name: str,
        sources: tuple[str, ...],
        rows: int,
        columns: int,
        precision: Precision,
        column_order: npt.NDArray[np.int64] | None = None,
        *,
        zeros: bool = False,
    ) -> Weight:
        """Reserve a `(rows, columns)` matrix. Columns that do not divide into blocks of 32 stay float32.

        With `zeros`, INT4 has a zero point in each block.
        """
        if name in self.weights:
            return self.weights[name]
        if precision == "float32" or columns % BLOCK_SIZE:
            slots: tuple[Slot, ...] = (self._reserve(name, np.float32, (columns, rows)),)
            return self._add(Weight(name, sources, "transposed", (rows, columns), slots, column_order))
        width = BLOCK_SIZE // 2 if precision == "int4" else BLOCK_SIZE
        blocks = columns // BLOCK_SIZE
        packed = self._reserve(f"{name}.packed", np.uint8, (rows, blocks, width))
        scales = self._reserve(f"{name}.scales", np.float16, (rows, blocks))
        slots = (packed, scales)
        if zeros and precision == "int4":
            slots += (self._reserve(f"{name}.zeros", np.uint8, (rows, -(-blocks // 2))),)
        has_zeros = len(slots) > 2
        return self._add(Weight(name, sources, precision, (rows, columns), slots, column_order, zeros=has_zeros))

    def carried(self, name: str, sources: tuple[str, ...], rows: int, columns: int, block: BlockFormat) -> Weight:
        """Reserve a `(rows, columns)` matrix whose sources are rounded already, all in the format `block`."""
        if name in self.weights:
            return self.weights[name]
        blocks = columns // block.size
        slots = [
            self._reserve(f"{name}.packed", np.uint8, (rows, blocks, block.size * block.bits // 8)),
            self._reserve(f"{name}.scales", np.float16 if block.half_scales else np.float32, (rows, blocks)),
        ]
        if block.minima:
            slots.append(self._reserve(f"{name}.minima", np.float32, (blocks, rows)))
        if block.zeros:
            slots.append(self._reserve(f"{name}.zeros", np.uint8, (rows, -(-blocks * block.bits // 8))))
        form: Literal["int4", "int8"] = "int4" if block.bits == 4 else "int8"
        return self._add(Weight(name, sources, form, (rows, columns), tuple(slots), carried=block))

    def plain(self, name: str, source: str, shape: tuple[int, ...]) -> Weight:
        """Reserve a float32 tensor stored as it is."""
        if name in self.weights:
            return self.weights[name]
        return self._add(Weight(name, (source,), "plain", shape, (self._reserve(name, np.float32, shape),)))

    def table(
        self, name: str, shape: tuple[int, ...], compute: Callable[[], Array], dtype: type[np.generic] = np.float32
    ) -> Slot:
        """Reserve a table that `compute` fills."""
        if name not in self.tables:
            self.tables[name] = (self._reserve(name, dtype, shape), compute)
        return self.tables[name][0]

    def _add(self, weight: Weight) -> Weight:
        self.weights[weight.name] = weight
        return weight

    def _reserve(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> Slot:
        if self.closed:
            raise ValueError(f"{name} has no place in {self.file_name}, which is laid out already")
        slot = Slot(name, np.dtype(dtype), shape, -(-self.size_bytes // ALIGNMENT) * ALIGNMENT)
        self.size_bytes = slot.offset + slot.nbytes
        return slot

    def check(self, checkpoint: Source) -> None:
        """Raise before any work where a tensor is missing or has another shape than the config says."""
        for weight in self.weights.values():
            rows = sum(_matrix_shape(checkpoint.shape(source))[0] for source in weight.sources)
            columns = _matrix_shape(checkpoint.shape(weight.sources[0]))[1:]
            if (rows, *columns) != _matrix_shape(weight.shape):
                found = ", ".join(f"{source} {checkpoint.shape(source)}" for source in weight.sources)
                raise Unsupported(f"config.json asks for {weight.name} {weight.shape}, the shards hold {found}")


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A convolution kernel `(D, 3, p, p)` counts as a matrix `(D, 3*p*p)`."""
    return (shape[0], int(np.prod(shape[1:]))) if len(shape) > 1 else shape


def fill(
    weight: Weight,
    checkpoint: Source,
    file: BinaryIO,
    rounder: Rounder | None = None,
    divisor: npt.NDArray[np.float32] | None = None,
) -> str:
    """Read, round and write one weight, a slice of rows at a time. Returns the SHA-256 of the values read.

    The next slice is read while all cores round the last one.

    Args:
        rounder: of a matrix; that of its form where left out.
        divisor: of a vector.
    """
    if weight.carried is not None:
        return _carry(weight, weight.carried, checkpoint, file)
    digest = hashlib.sha256()
    chosen = rounder or weight.rounder
    with (
        _blas().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(usable_cores(), "round") as cores,
        ThreadPoolExecutor(1, "hash") as hashing,
    ):
        waiting: deque[tuple[int, Encoded]] = deque()
        row = 0
        for rows in _source_rows(weight, checkpoint):
            hashing.submit(digest.update, np.ascontiguousarray(rows).data)
            ordered = rows if weight.column_order is None else rows[:, weight.column_order]
            divided = ordered if divisor is None else ordered / divisor[row : row + len(rows)]
            waiting.append((row, divided if chosen is None else Encoding(chosen, divided, cores)))
            row += len(rows)
            if len(waiting) > 1:
                _write(weight, *waiting.popleft(), file)
        while waiting:
            _write(weight, *waiting.popleft(), file)
    return digest.hexdigest()


@cache
def _blas() -> ThreadpoolController:
    """Of numpy's products. Each core rounds its own tile: products that spread over all cores wait for one another, 1.8
    times as long on two idle cores and 12 times on busy ones.
    """
    return ThreadpoolController()


def _write(weight: Weight, row: int, encoded: Encoded, file: BinaryIO) -> None:
    if isinstance(encoded, Encoding):
        for slot, part in zip(weight.slots, encoded.parts(), strict=True):
            _write_rows(slot, row, part, file)
    elif weight.form == "transposed":
        _write_columns(weight.slots[0], row, encoded, file)
    else:
        _write_rows(weight.slots[0], row, encoded, file)


def _carry(weight: Weight, block: BlockFormat, checkpoint: Source, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    row = 0
    pack = pack_int4 if block.bits == 4 else pack_int8
    packed, scales, *more = weight.slots
    for blocks in (part for source in weight.sources for part in checkpoint.blocks(source)):
        digest.update(blocks.integers.tobytes() + blocks.scales.tobytes())
        _write_rows(packed, row, pack(blocks.integers, block.size), file)
        _write_rows(scales, row, blocks.scales, file)
        if blocks.minima is not None:
            digest.update(blocks.minima.tobytes())
            _write_columns(more[0], row, blocks.minima, file)
        if blocks.zeros is not None:
            digest.update(blocks.zeros.tobytes())
            _write_rows(more[0], row, pack_zeros(blocks.zeros, block.bits), file)
        row += len(blocks.integers)
    return digest.hexdigest()


def _source_rows(weight: Weight, checkpoint: Source) -> Iterator[npt.NDArray[np.float32]]:
    for source in weight.sources:
        for rows in checkpoint.rows(source):
            yield rows.reshape(len(rows), -1) if rows.ndim > 1 else rows


def _write_rows(slot: Slot, row: int, part: Array, file: BinaryIO) -> None:
    row_bytes = slot.nbytes // slot.shape[0]
    file.seek(slot.offset + row * row_bytes)
    file.write(np.ascontiguousarray(part, dtype=slot.dtype).tobytes())


def _write_columns(slot: Slot, row: int, rows: npt.NDArray[np.float32], file: BinaryIO) -> None:
    """Rows of the source are columns of the stored `(K, N)` matrix."""
    width = slot.shape[1]
    for k, values in enumerate(np.ascontiguousarray(rows.T)):
        file.seek(slot.offset + (k * width + row) * slot.dtype.itemsize)
        file.write(values.tobytes())
