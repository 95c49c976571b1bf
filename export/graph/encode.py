"""Rounding and packing rows of a matrix on all cores, a few rows at a time.

Rounding passes over its numbers some two hundred times: tiles that stay in a core's cache are rounded three times as
fast as whole matrices. numpy lets go of the interpreter while it computes, so that threads are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future

import numpy as np
import numpy.typing as npt

from lineside.export.quantize.blocks import BLOCK_SIZE, pack_int4, pack_int8
from lineside.export.quantize.rounder import Rounder
from lineside.export.zero_points import pack_zeros

Array = npt.NDArray[np.generic]
TASK_NUMBERS = 655_360
"""Of a task, some tiles of a rounder: a few milliseconds, so that the cores come out even and handing over costs
nothing."""


class Encoding:
    """Rows `(n, K)`, rounded on `pool`: `parts` is packed `(n, K/32, 16 or 32)`, float16 scales `(n, K/32)`, and zero
    points `(n, K/64)` where the rounder gives some.
    """

    def __init__(self, rounder: Rounder, rows: npt.NDArray[np.float32], pool: Executor) -> None:
        count, columns = rows.shape
        blocks = columns // BLOCK_SIZE
        self._packed = np.empty((count, blocks, BLOCK_SIZE * rounder.bits // 8), np.uint8)
        self._scales = np.empty((count, blocks), np.float16)
        self._zeros = np.empty((count, -(-blocks // 2)), np.uint8) if rounder.zeros else None
        step = max(1, rounder.numbers // columns)
        tiles = [slice(start, start + step) for start in range(0, count, step)]
        many = max(1, TASK_NUMBERS // rounder.numbers)
        tasks = (tiles[first : first + many] for first in range(0, len(tiles), many))
        self._tasks: list[Future[None]] = [pool.submit(self._encode, rounder, rows, task) for task in tasks]

    def _encode(self, rounder: Rounder, rows: npt.NDArray[np.float32], tiles: list[slice]) -> None:
        pack = pack_int4 if rounder.bits == 4 else pack_int8
        for tile in tiles:
            blocks = rounder.round(rows[tile])
            self._packed[tile], self._scales[tile] = pack(blocks.integers), blocks.scales
            if self._zeros is not None and blocks.zeros is not None:
                self._zeros[tile] = pack_zeros(blocks.zeros, rounder.bits)

    def parts(self) -> Iterator[Array]:
        """Waits until all is done."""
        for task in self._tasks:
            task.result()
        yield from (part for part in (self._packed, self._scales, self._zeros) if part is not None)
