"""Rounding on all cores gives what rounding the whole matrix at once gives."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lineside.export.graph.encode as encode
from lineside.export.graph.encode import Encoding, Rounded
from lineside.export.graph.quantize import pack_int4, pack_int8, quantize_int4, quantize_int8

WHOLE = {"int4": (quantize_int4, pack_int4), "int8": (quantize_int8, pack_int8)}


@pytest.mark.parametrize("form", ["int4", "int8"])
@pytest.mark.parametrize("shape", [(1, 32), (7, 96), (133, 64), (3, 40_992)])
def test_tiles_are_rounded_as_the_whole_matrix_is(
    form: Rounded, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "TILE_ELEMENTS", min(640, encode.TILE_ELEMENTS))
    rows = np.random.default_rng(1).standard_t(4, size=shape).astype(np.float32)
    quantize, pack = WHOLE[form]
    integers, scales = quantize(rows)
    with ThreadPoolExecutor(3) as pool:
        found_packed, found_scales = Encoding(form, rows, pool).parts()
    np.testing.assert_array_equal(found_packed, pack(integers))
    np.testing.assert_array_equal(found_scales, scales)


def test_all_cores_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks meet in the middle of their work, which they can only do at the same time."""
    together = threading.Barrier(2, timeout=60)

    def meet(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        together.wait()
        return quantize_int4(rows)

    monkeypatch.setattr(encode, "quantize_int4", meet)
    monkeypatch.setattr(encode, "TILE_ELEMENTS", 64)
    monkeypatch.setattr(encode, "TASK_TILES", 1)
    with ThreadPoolExecutor(2) as pool:
        packed, _ = Encoding("int4", np.ones((2, 64), np.float32), pool).parts()
    assert packed.shape == (2, 2, 16)
