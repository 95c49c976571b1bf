"""Normalized pixels to the patches that a vision tower takes, and what it says of each back to their grid.

No picture library is needed for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lineside.runtime.manifest import ImageSettings


def to_patches(
    pixels: npt.NDArray[np.float32], settings: ImageSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Normalized pixels `(3, H, W)` to patches and positions in merge order.

    Returns:
        patches `(1, N, 3*p*p)`: channel, row, column within a patch, as a convolution kernel is flattened; each run of
        `spatial_merge_size ** 2` patches is one block of the grid.
        positions `(1, N)`: row * grid_size + column of each patch.
    """
    p, merge = settings.patch_size, settings.spatial_merge_size
    rows, columns = pixels.shape[1] // p, pixels.shape[2] // p
    block_rows, block_columns = rows // merge, columns // merge
    grid = pixels.reshape(3, block_rows, merge, p, block_columns, merge, p)
    # -> block row, block column, row in block, column in block, channel, y, x
    patches = grid.transpose(1, 4, 2, 5, 0, 3, 6).reshape(1, rows * columns, 3 * p * p)
    flat = np.arange(rows, dtype=np.int64)[:, None] * settings.grid_size + np.arange(columns, dtype=np.int64)
    order = flat.reshape(block_rows, merge, block_columns, merge).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(patches), np.ascontiguousarray(order.reshape(1, -1))


def to_grid(
    features: npt.NDArray[np.float32], shape: tuple[int, ...], settings: ImageSettings
) -> npt.NDArray[np.float32]:
    """Features `(N, D)` in merge order, of pixels of shape `(3, H, W)`, to `(H/p, W/p, D)`."""
    p, merge = settings.patch_size, settings.spatial_merge_size
    rows, columns = shape[1] // p, shape[2] // p
    blocks = features.reshape(rows // merge, columns // merge, merge, merge, -1)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1))
