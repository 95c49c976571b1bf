"""AWQ: columns with large inputs get finer steps, by a factor for each that the norm before the matrix takes back.

Lin et al., 2023 (arXiv 2306.00978). It needs the size of each input and no Hessian.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import Blocks
from lineside.export.quantize.grid import MIDDLE, Grid, nearest

Float32 = npt.NDArray[np.float32]
EXPONENTS = np.linspace(0.0, 1.0, 11, dtype=np.float32)
"""Powers of an input's size that are tried as its factor; with 0 the matrix stays as it is."""
LEAST_SHARE = 1e-3
"""Of the mean size: an input that is smaller, or always zero, counts as one of this size."""


def finer(rows: Float32, factors: Float32, moments: Float32, grid: Grid) -> Blocks:
    """Rows `(n, K)` with their columns multiplied by `factors` `(K,)`, rounded."""
    return nearest(rows * factors, grid, moments / np.square(factors))


def best_factors(sample: Iterable[Float32], sizes: Float32, moments: Float32, grid: Grid) -> Float32:
    """The factors `(K,)` that leave the least error in some rows of a matrix.

    Args:
        sample: rows `(n, K)`.
        sizes: mean magnitude of each input, `(K,)`.
        moments: mean square of each input, `(K,)`.
    """
    rows = np.concatenate(list(sample))
    least_size = np.float32(LEAST_SHARE * sizes.mean() + np.finfo(np.float32).tiny)
    least, best = np.inf, np.ones_like(sizes)
    for exponent in EXPONENTS:
        factors = np.maximum(sizes, least_size) ** exponent
        factors = np.clip(factors / np.sqrt(factors.max() * factors.min()), 1e-3, 1e3).astype(np.float32)
        left = _floats(finer(rows, factors, moments, grid)) / factors - rows
        error = float((np.square(left).sum(axis=0) * moments).sum())
        if error < least:
            least, best = error, factors
    return best


def _floats(blocks: Blocks) -> Float32:
    count, columns = blocks.integers.shape
    integers = blocks.integers.reshape(count, blocks.scales.shape[1], -1).astype(np.float32)
    if blocks.zeros is not None:
        integers += MIDDLE - blocks.zeros[..., None].astype(np.float32)
    return np.asarray((integers * blocks.scales[..., None]).reshape(count, columns), np.float32)
