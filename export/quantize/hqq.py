"""HQQ: scales and zero points that are fitted to the weights alone, with an error that forgives outliers.

Badri and Shaji, 2023 (Half-Quadratic Quantization). The levels are whole numbers here, as MatMulNBits packs its zero
points in 4 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import Blocks
from lineside.export.quantize.blocks import BLOCK_SIZE, half_precision
from lineside.export.quantize.grid import LEVELS, MIDDLE, rounded

Float32 = npt.NDArray[np.float32]
NORM, PENALTY, GROWTH, STEPS = 0.7, 10.0, 1.01, 20
"""The paper's: the error's norm, the weight of the split, by what it grows at each step, and how many there are."""


def hqq(rows: Float32) -> Blocks:
    """Rows `(n, K)` of a matrix in blocks of 32 columns."""
    blocks = rows.reshape(len(rows), -1, BLOCK_SIZE)  # (n, K / 32, 32)
    low, high = np.minimum(blocks.min(-1, keepdims=True), 0), np.maximum(blocks.max(-1, keepdims=True), 0)
    scale = half_precision((high - low) / (LEVELS - 1))
    zero = np.clip(-low / scale, 0, LEVELS - 1)
    best, least = np.rint(zero), np.full(scale.shape, np.inf, np.float32)
    penalty = PENALTY
    for _ in range(STEPS):
        found = np.clip(np.rint(blocks / scale + zero), 0, LEVELS - 1)
        error = blocks - (found - zero) * scale
        outliers = _shrunk(error, penalty)
        zero = np.clip((found - (blocks - outliers) / scale).mean(-1, keepdims=True), 0, LEVELS - 1)
        penalty *= GROWTH
        whole = np.rint(zero)
        left = np.abs(blocks - rounded(blocks, scale, whole) * scale) ** NORM
        better = (total := left.mean(-1, keepdims=True)) < least
        least, best = np.where(better, total, least), np.where(better, whole, best)
    integers = rounded(blocks, scale, best) + best - MIDDLE
    return Blocks(integers.reshape(rows.shape).astype(np.int8), scale[..., 0], None, best[..., 0].astype(np.uint8))


def _shrunk(error: Float32, penalty: float) -> Float32:
    """What of an error is an outlier: the proximal step of the norm below 1."""
    size = np.abs(error)
    part = np.power(np.maximum(size, np.finfo(np.float32).tiny), NORM - 1) / penalty
    return np.asarray(np.sign(error) * np.maximum(size - part, 0), np.float32)
