"""The values that a block can take: a scale, sixteen levels, and which of them is zero.

Scales are what float16 can hold and above zero: so they lie on the disk, and TensorRT computes nonsense for others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import Blocks
from lineside.export.quantize.blocks import BLOCK_SIZE, half_precision

Float32 = npt.NDArray[np.float32]
LEVELS = 16
MIDDLE = 8
"""The level that is zero in a symmetric block."""
CANDIDATES = np.linspace(5.0, 8.5, 15, dtype=np.float32)
"""Levels to which the largest magnitude of a symmetric block is tried to be mapped."""
SHRUNK = np.linspace(1.0, 0.7, 13, dtype=np.float32)
"""Shares of an asymmetric block's range that are tried: what lies outside is clipped."""


@dataclass(frozen=True)
class Grid:
    """Chooses a block's scale and which level is zero: the middle one where `symmetric`."""

    symmetric: bool

    def choose(self, blocks: Float32, cost: Float32) -> tuple[Float32, Float32]:
        """Scales and the levels of zero, `(n,)` each, of least weighted squared error.

        Args:
            blocks: `(32, n)`: each column is a block.
            cost: `(32, 1)`: what an error in each row costs.
        """
        return _symmetric(blocks, cost) if self.symmetric else _asymmetric(blocks, cost)

    def blocks(self, integers: Float32, scales: Float32, zeros: Float32) -> Blocks:
        """Integers `(K, n)` that count from zero, scales and levels of zero `(K / 32, n)`, as they are stored."""
        stored_integers = (integers + np.repeat(zeros - MIDDLE, BLOCK_SIZE, axis=0)).T.astype(np.int8)
        levels = None if self.symmetric else np.ascontiguousarray(zeros.T).astype(np.uint8)
        return Blocks(stored_integers, np.ascontiguousarray(scales.T), None, levels)


def rounded(wanted: Float32, scale: Float32, zero: Float32) -> Float32:
    """Integers that count from zero; `scale` and `zero` are broadcast."""
    return np.asarray(np.clip(np.rint(wanted / scale), -zero, LEVELS - 1 - zero), np.float32)


def nearest(rows: Float32, grid: Grid, moments: Float32 | None = None) -> Blocks:
    """Rows `(n, K)` in blocks of 32 columns, each weight at the value next to it. `moments` `(K,)` weigh its error."""
    columns = np.ascontiguousarray(rows.T)  # (K, n)
    cost = np.ones(len(columns), np.float32) if moments is None else moments
    starts = range(0, len(columns), BLOCK_SIZE)
    chosen = [grid.choose(columns[at : at + BLOCK_SIZE], cost[at : at + BLOCK_SIZE, None]) for at in starts]
    scales, zeros = (np.stack(parts) for parts in zip(*chosen, strict=True))  # (K / 32, n)
    wide = (np.repeat(part, BLOCK_SIZE, axis=0) for part in (scales, zeros))
    return grid.blocks(rounded(columns, *wide), scales, zeros)


def _symmetric(blocks: Float32, cost: Float32) -> tuple[Float32, Float32]:
    largest = np.abs(blocks).max(axis=0)
    middle = np.full_like(largest, MIDDLE)
    least = np.full(largest.shape, np.inf, np.float32)
    chosen = np.ones_like(largest)
    weighted = blocks * cost
    for level in CANDIDATES:
        scale = half_precision(largest / level)
        integers = rounded(blocks, scale, middle)
        energy = (np.square(integers) * cost).sum(axis=0)
        fitted = (integers * weighted).sum(axis=0) / np.maximum(energy, np.finfo(np.float32).tiny)
        scale = np.where(energy > 0, half_precision(fitted), scale)
        error = (np.square(rounded(blocks, scale, middle) * scale - blocks) * cost).sum(axis=0)
        better = error < least
        least, chosen = np.where(better, error, least), np.where(better, scale, chosen)
    return chosen, middle


def _asymmetric(blocks: Float32, cost: Float32) -> tuple[Float32, Float32]:
    low, high = np.minimum(blocks.min(axis=0), 0), np.maximum(blocks.max(axis=0), 0)
    least = np.full(low.shape, np.inf, np.float32)
    chosen, zeros = np.ones_like(low), np.full_like(low, MIDDLE)
    for share in SHRUNK:
        scale = half_precision((high - low) * (share / (LEVELS - 1)))
        zero = np.clip(np.rint(-low * share / scale), 0, LEVELS - 1)
        error = (np.square(rounded(blocks, scale, zero) * scale - blocks) * cost).sum(axis=0)
        better = error < least
        least, chosen = np.where(better, error, least), np.where(better, scale, chosen)
        zeros = np.where(better, zero, zeros)
    return chosen, zeros
