"""Tensors of a checkpoint in the many ways in which they are stored, all read by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.shards import Stored
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import Unsupported

Float32 = npt.NDArray[np.float32]
Rows = slice | npt.NDArray[np.int64]
"""Which rows: a stretch of them, or their numbers."""


class Matrix(Protocol):
    """A tensor of any rank; `block` is None where it holds floats."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def block(self) -> BlockFormat | None: ...

    def rows(self, at: Rows) -> Float32: ...

    def blocks(self, at: Rows) -> Blocks:
        """Raises ValueError where it holds floats."""

    def __str__(self) -> str:
        """Its file and its stored name."""


class Unrounded:
    """What matrices of floats have in common."""

    block: BlockFormat | None = None

    def blocks(self, at: Rows) -> Blocks:  # noqa: ARG002 - one signature for all
        raise ValueError(f"{self} holds floats, not blocks")


@dataclass(frozen=True)
class Plain(Unrounded):
    """Floats as they are."""

    stored: Stored

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def rows(self, at: Rows) -> Float32:
        return np.asarray(self.stored.array()[at]).astype(np.float32)

    def __str__(self) -> str:
        return str(self.stored)


@dataclass(frozen=True)
class Scaled(Unrounded):
    """8-bit floats with a scale: one for all, one a row, or one for each square of `square` rows and columns.

    Raises Unsupported where the scale has another shape.
    """

    stored: Stored
    scale: Stored
    square: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        rows, columns = (*self.stored.shape, 1)[:2]
        shapes = [(), (1,), (1, 1), (rows,), (rows, 1)]
        if self.square is not None:
            shapes.append((-(-rows // self.square[0]), -(-columns // self.square[1])))
        if len(self.stored.shape) != 2 or self.scale.shape not in shapes:
            raise Unsupported(f"{self.scale} has the shape {self.scale.shape}, {self.stored.name} {self.stored.shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def rows(self, at: Rows) -> Float32:
        values = np.asarray(self.stored.array()[at]).astype(np.float32)
        scale = self.scale.array().astype(np.float32)
        if self.square is not None and scale.ndim == 2 and scale.size > 1 and scale.shape != (self.shape[0], 1):
            of_rows = scale[np.arange(self.shape[0])[at] // self.square[0]]
            return np.asarray(values * np.repeat(of_rows, self.square[1], axis=1)[:, : self.shape[1]])
        if scale.size == 1:
            return np.asarray(values * scale.reshape(1, 1))
        return np.asarray(values * scale.reshape(-1, 1)[at])

    def __str__(self) -> str:
        return str(self.stored)


@dataclass(frozen=True)
class Interleaved:
    """Rows of Q or K in the order of interleaved rotary embedding, given in half-split order."""

    inner: Matrix
    heads: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def block(self) -> BlockFormat | None:
        return self.inner.block

    def rows(self, at: Rows) -> Float32:
        return self.inner.rows(half_split(self.shape[0], self.heads)[at])

    def blocks(self, at: Rows) -> Blocks:
        return self.inner.blocks(half_split(self.shape[0], self.heads)[at])

    def __str__(self) -> str:
        return str(self.inner)


def half_split(rows: int, heads: int) -> npt.NDArray[np.int64]:
    """The interleaved row of each half-split one. Raises Unsupported where the rows are no pairs for so many heads."""
    if rows % (2 * heads):
        raise Unsupported(f"{rows} rows do not divide into pairs for {heads} heads")
    return np.arange(rows, dtype=np.int64).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)
