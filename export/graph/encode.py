"""Rounding and packing rows of a matrix on all cores, a few rows at a time.

Rounding passes over its numbers some two hundred times: tiles that stay in a core's cache are rounded three times as
fast as whole matrices. numpy lets go of the interpreter while it computes, so that threads are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Literal

import numpy as np
import numpy.typing as npt

from lineside.export.graph.quantize import BLOCK_SIZE, pack_int4, pack_int8, quantize_int4, quantize_int8

Array = npt.NDArray[np.generic]
Rounded = Literal["int4", "int8"]
TILE_ELEMENTS = 40_960
"""Numbers that are rounded at a time: with what is computed of them they fill half a MB."""
TASK_TILES = 16
"""Tiles of a task: a few milliseconds, so that the cores come out even and handing over costs nothing."""


class Encoding:
    """Rows `(n, K)`, rounded on `pool`: `parts` is packed `(n, K/32, 16 or 32)` and float16 scales `(n, K/32)`."""

    def __init__(self, form: Rounded, rows: npt.NDArray[np.float32], pool: Executor) -> None:
        count, columns = rows.shape
        width = BLOCK_SIZE // 2 if form == "int4" else BLOCK_SIZE
        self._packed = np.empty((count, columns // BLOCK_SIZE, width), np.uint8)
        self._scales = np.empty((count, columns // BLOCK_SIZE), np.float16)
        step = max(1, TILE_ELEMENTS // columns)
        tiles = [slice(start, start + step) for start in range(0, count, step)]
        tasks = (tiles[first : first + TASK_TILES] for first in range(0, len(tiles), TASK_TILES))
        self._tasks: list[Future[None]] = [pool.submit(self._encode, form, rows, task) for task in tasks]

    def _encode(self, form: Rounded, rows: npt.NDArray[np.float32], tiles: list[slice]) -> None:
        quantize, pack = (quantize_int4, pack_int4) if form == "int4" else (quantize_int8, pack_int8)
        for tile in tiles:
            integers, self._scales[tile] = quantize(rows[tile])
            self._packed[tile] = pack(integers)

    def parts(self) -> Iterator[Array]:
        """Waits until all is done."""
        for task in self._tasks:
            task.result()
        yield from (self._packed, self._scales)
