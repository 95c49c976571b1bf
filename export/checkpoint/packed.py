"""Matrices that GPTQ, AWQ or compressed-tensors rounded to 4 or 8 bits: taken apart without rounding anything.

Each stores `(q - zero) * scale` with `q` and `zero` counted from nothing, several in a word of 32 bits, the first in
the lowest bits. Sources: the packing of AutoGPTQ, AutoAWQ (GEMM) and compressed-tensors (`pack-quantized`), as vLLM
reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.matrices import Float32, Rows
from lineside.export.checkpoint.shards import Stored
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import Unsupported

Layout = Literal["gptq", "awq", "compressed"]
BLOCK_SIZES = (128, 64, 32, 16)
"""Columns of a block that ONNX Runtime's operators take."""
AWQ_PLACES = np.asarray([0, 4, 1, 5, 2, 6, 3, 7])
"""Where in its word AWQ puts each of eight rows."""


@dataclass(frozen=True)
class Packed:
    """A matrix `(N, K)`; `group` columns share a scale and a zero point.

    `words`, `scales` and `zeros` lie as their layout has them: `(K / 8, N)`, `(K / group, N)`, `(K / group, N / 8)` for
    gptq; `(K, N / 8)` and the same for awq; `(N, K / 8)`, `(N, K / group)`, `(N / 8, K / group)` for compressed.

    Attributes:
        zeros: None where every zero point is the middle of the range.
        zero_shift: what is added to stored zero points: 1 in GPTQ's first format.
    """

    layout: Layout
    bits: int
    words: Stored
    scales: Stored
    zeros: Stored | None
    zero_shift: int
    group: int

    @property
    def shape(self) -> tuple[int, ...]:
        rows, columns = self.words.shape if self.layout == "compressed" else self.words.shape[::-1]
        many = 32 // self.bits
        return (rows * many, columns) if self.layout == "awq" else (rows, columns * many)

    @property
    def block(self) -> BlockFormat:
        size = next(size for size in BLOCK_SIZES if self.group % size == 0)
        half = self.scales.dtype == "F16"
        return BlockFormat(self.bits, size, minima=False, zeros=self.zeros is not None, half_scales=half)

    def blocks(self, at: Rows) -> Blocks:
        middle = 2 ** (self.bits - 1)
        repeats = self.group // self.block.size
        zeros = self._zeros(at)
        return Blocks(
            (self._integers(at).astype(np.int16) - middle).astype(np.int8),
            np.repeat(self._scales(at), repeats, axis=1),
            None,
            None if zeros is None else np.repeat(zeros, repeats, axis=1),
        )

    def rows(self, at: Rows) -> Float32:
        zeros = self._zeros(at)
        middle = np.float32(2 ** (self.bits - 1))
        values = self._integers(at).astype(np.float32)
        values -= middle if zeros is None else np.repeat(zeros, self.group, axis=1)
        return np.asarray(values * np.repeat(self._scales(at), self.group, axis=1), np.float32)

    def _integers(self, at: Rows) -> npt.NDArray[np.uint8]:
        """`(n, K)`."""
        words = self.words.array().view(np.uint32)
        if self.layout == "compressed":
            return _unpacked(words[at], self.bits)
        if self.layout == "gptq":
            return _unpacked(np.ascontiguousarray(words[:, at].T), self.bits)
        return self._of_rows(words, at).T

    def _scales(self, at: Rows) -> Float32:
        """`(n, K / group)`."""
        scales = self.scales.array()
        return np.asarray(scales[at] if self.layout == "compressed" else scales[:, at].T).astype(np.float32)

    def _zeros(self, at: Rows) -> npt.NDArray[np.uint8] | None:
        """`(n, K / group)`. Raises Unsupported where one is out of range."""
        if self.zeros is None:
            return None
        words = self.zeros.array().view(np.uint32)
        found = self._of_rows(words.T if self.layout == "compressed" else words, at).T + self.zero_shift
        if found.max() >= 2**self.bits:
            raise Unsupported(f"{self.zeros} holds a zero point that readers of GPTQ take for 0 or for {2**self.bits}")
        return found.astype(np.uint8)

    def _of_rows(self, words: npt.NDArray[np.uint32], at: Rows) -> npt.NDArray[np.uint8]:
        """`(m, N / 8)` words, whose values belong to rows, to `(m, n)` of the rows asked for."""
        many = 32 // self.bits
        rows = np.arange(self.shape[0])[at]
        places = AWQ_PLACES[rows % many] if self.layout == "awq" else rows % many
        found = words[:, rows // many] >> (places * self.bits).astype(np.uint32)
        return np.asarray(found & (2**self.bits - 1)).astype(np.uint8)

    def __str__(self) -> str:
        return str(self.words)


def _unpacked(words: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint8]:
    """`(n, W)` to `(n, W * 32 / bits)`."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    values = words[..., None] >> shifts & np.uint32(2**bits - 1)
    return np.asarray(values.astype(np.uint8).reshape(len(words), -1))


def packed(
    layout: Layout,
    bits: int,
    words: Stored,
    scales: Stored,
    zeros: Stored | None,
    zero_shift: int,
    order: Stored | None,
) -> Packed:
    """Check that the parts fit together; reads the zero points and the order of the columns.

    Raises Unsupported where they do not fit, or where columns of a group do not lie together.
    """
    if any(part is not None and part.dtype != "I32" for part in (words, zeros, order)):
        raise Unsupported(f"{words} and what belongs to it are not of the type I32")
    if len(words.shape) != 2 or len(scales.shape) != 2:
        raise Unsupported(f"{words} {words.shape} or {scales.name} {scales.shape} is no matrix")
    whole = Packed(layout, bits, words, scales, None, zero_shift, group=1)
    (rows, columns), of_rows = whole.shape, scales.shape if layout == "compressed" else scales.shape[::-1]
    group = columns // max(of_rows[1], 1)
    if of_rows[0] != rows or group * of_rows[1] != columns or group % BLOCK_SIZES[-1]:
        raise Unsupported(f"{scales} {scales.shape} does not fit {words.name}, a matrix of {rows} x {columns}")
    if order is not None and not np.array_equal(order.array(), np.arange(columns) // group):
        raise Unsupported(f"{order} puts the columns of a group apart (activation order), which no operator can hold")
    if zeros is None:
        return Packed(layout, bits, words, scales, None, zero_shift, group)
    many = 32 // bits
    wanted = (of_rows[1], rows // many) if layout != "compressed" else (rows // many, of_rows[1])
    if rows % many or zeros.shape != wanted:
        raise Unsupported(f"{zeros} {zeros.shape} does not fit {words.name}, a matrix of {rows} x {columns}")
    middle = sum((2 ** (bits - 1) - zero_shift) << shift for shift in range(0, 32, bits))
    centred = bool((zeros.array().view(np.uint32) == middle).all())
    return Packed(layout, bits, words, scales, None if centred else zeros, zero_shift, group)
