"""Rounding on all cores gives what rounding the whole matrix at once gives."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from lineside.export.checkpoint.source import Blocks
from lineside.export.graph.encode import TASK_NUMBERS, Encoding
from lineside.export.quantize.blocks import pack_int4, pack_int8
from lineside.export.quantize.rounder import ASYMMETRIC, INT4, INT8, Rounder
from lineside.export.zero_points import pack_zeros

PACKED = {4: pack_int4, 8: pack_int8}


@pytest.mark.parametrize("rounder", [INT4, INT8, ASYMMETRIC], ids=["int4", "int8", "asymmetric"])
@pytest.mark.parametrize("shape", [(1, 32), (7, 96), (133, 64), (3, 40_992)])
def test_tiles_are_rounded_as_the_whole_matrix_is(rounder: Rounder, shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(1).standard_t(4, size=shape).astype(np.float32)
    whole = rounder.round(rows)
    with ThreadPoolExecutor(3) as pool:
        packed, scales, *zeros = Encoding(replace(rounder, numbers=640), rows, pool).parts()
    np.testing.assert_array_equal(packed, PACKED[rounder.bits](whole.integers))
    np.testing.assert_array_equal(scales, whole.scales)
    if whole.zeros is not None:
        np.testing.assert_array_equal(zeros[0], pack_zeros(whole.zeros, rounder.bits))


def test_all_cores_round() -> None:
    """Two tasks meet in the middle of their work, which they can only do at the same time."""
    together = threading.Barrier(2, timeout=60)

    def meet(rows: np.ndarray) -> Blocks:
        together.wait()
        return INT4.round(rows)

    rows = np.ones((2, TASK_NUMBERS), np.float32)
    with ThreadPoolExecutor(2) as pool:
        packed, _ = Encoding(Rounder(4, meet, numbers=TASK_NUMBERS), rows, pool).parts()
    assert packed.shape == (2, TASK_NUMBERS // 32, 16)
