"""GPTQ: columns are rounded one after the other, and those that follow make up for the error.

Frantar et al., 2022 (arXiv 2210.17323), in the form of LDLQ (Chee et al., 2023, arXiv 2307.13304), which needs one
factor of the Hessian and no inverse. Scales are chosen before, so that columns can be taken in any order: those with
the largest inputs come first, and the stored matrix is none the wiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import Blocks
from lineside.export.quantize.blocks import BLOCK_SIZE
from lineside.export.quantize.grid import Grid, rounded
from lineside.export.quantize.hessian import Feedback

Float32 = npt.NDArray[np.float32]


def gptq(rows: Float32, feedback: Sequence[Feedback], moments: Float32, grid: Grid) -> Blocks:
    """Rows `(n, K)` of a matrix in blocks of 32 columns.

    Args:
        feedback, moments: of the matrix's inputs (`export.quantize.hessian`).
        grid: chooses the scales by the moments.
    """
    weights = np.ascontiguousarray(rows.T)  # (K, n): a column of the matrix is a run of memory
    blocks = [slice(start, start + BLOCK_SIZE) for start in range(0, len(weights), BLOCK_SIZE)]
    chosen = [grid.choose(weights[block], moments[block, None]) for block in blocks]
    scales, zeros = (np.stack(parts) for parts in zip(*chosen, strict=True))  # (K / 32, n)
    integers = np.empty(weights.shape, np.float32)
    for part in feedback:
        _round_part(weights, part, scales, zeros, integers)
    return grid.blocks(integers, scales, zeros)


def _round_part(weights: Float32, part: Feedback, scales: Float32, zeros: Float32, integers: Float32) -> None:
    """Round the part's columns, in its order, into `integers`, which count from zero."""
    count = weights.shape[1]
    errors = np.empty((len(part.columns), count), np.float32)
    for start in range(0, len(part.columns), BLOCK_SIZE):
        columns = part.columns[start : start + BLOCK_SIZE]
        wanted = weights[columns]
        if start:
            wanted += part.unit[:start, start : start + len(columns)].T @ errors[:start]
        for place, column in enumerate(columns):
            scale, zero = scales[column // BLOCK_SIZE], zeros[column // BLOCK_SIZE]
            found = rounded(wanted[place], scale, zero)
            error = weights[column] - found * scale
            wanted[place + 1 :] += part.unit[start + place, start + place + 1 : start + len(columns), None] * error
            integers[column], errors[start + place] = found, error
