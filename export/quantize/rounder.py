"""How the rows of one matrix are rounded: the one thing that writing it must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import Blocks
from lineside.export.quantize.awq import finer
from lineside.export.quantize.blocks import quantize_int4, quantize_int8
from lineside.export.quantize.gptq import gptq
from lineside.export.quantize.grid import Grid, nearest
from lineside.export.quantize.hessian import Feedback
from lineside.export.quantize.hqq import hqq

Float32 = npt.NDArray[np.float32]
Method = Literal["gptq", "awq", "nearest", "hqq"]
CALIBRATED: tuple[Method, ...] = ("gptq", "awq")
"""Those that must know what a matrix is multiplied with."""
CACHED, STREAMED = 40_960, 2_000_000
"""Numbers that are rounded at a time: so many that what is computed of them stays in a core's cache, or so many that
the columns, which follow one another, are long enough."""


@dataclass(frozen=True)
class Rounder:
    """Rounds some rows `(n, K)` at a time.

    Attributes:
        bits: 4 or 8.
        round: gives the rows in blocks of 32 columns.
        zeros: whether each has a zero point.
        numbers: that it takes best at a time.
    """

    bits: int
    round: Callable[[Float32], Blocks]
    zeros: bool = False
    numbers: int = CACHED


def _int4(rows: Float32) -> Blocks:
    return Blocks(*quantize_int4(rows), None)


def _int8(rows: Float32) -> Blocks:
    return Blocks(*quantize_int8(rows), None)


INT4, INT8 = Rounder(4, _int4), Rounder(8, _int8)
"""Symmetric, to the nearest of the values that have the least squared error."""
HQQ = Rounder(4, hqq, zeros=True)
ASYMMETRIC = Rounder(4, lambda rows: nearest(rows, Grid(symmetric=False)), zeros=True)


def gptq_rounder(feedback: list[Feedback], moments: Float32, *, symmetric: bool) -> Rounder:
    grid = Grid(symmetric)
    return Rounder(4, lambda rows: gptq(rows, feedback, moments, grid), not symmetric, STREAMED)


def awq_rounder(factors: Float32, moments: Float32, *, symmetric: bool) -> Rounder:
    """Of rows whose columns are multiplied with `factors` `(K,)` first."""
    grid = Grid(symmetric)
    return Rounder(4, lambda rows: finer(rows, factors, moments, grid), not symmetric)
