"""Symmetric block-wise rounding with positive scales: one integer result that feeds both graph dialects.

The scale of each block of 32 weights is searched for the least squared error and then refitted in closed form. Scales
are numbers of float16, as they are stored, and integers are chosen under what is stored. Positive scales are a must:
TensorRT accepts zero or negative ones without an error and computes nonsense.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK_SIZE = 32
INT4_CANDIDATES = np.linspace(5.0, 8.5, 15, dtype=np.float32)
"""Levels to which a block's largest magnitude is tried to be mapped; the range is -8 to 7."""
LEAST_SCALE, MOST_SCALE = float(np.finfo(np.float16).smallest_subnormal), float(np.finfo(np.float16).max)

Int8 = npt.NDArray[np.int8]
Float32 = npt.NDArray[np.float32]


def quantize_int4(weight: Float32) -> tuple[Int8, Float32]:
    """Round `(N, K)` to integers `(N, K)` in [-8, 7] and scales `(N, K/32)`, so that weight ~ integer * scale.

    Scales are float32 with values of float16. Raises ValueError where K is not a multiple of 32.
    """
    blocks = _blocks(weight)  # (B, 32)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    best = np.full(largest.shape, np.inf, np.float32)
    best_scale = np.full(largest.shape, np.inf, np.float32)
    work = np.empty_like(blocks)  # one buffer for all steps: it stays in the cache
    for level in INT4_CANDIDATES:
        scale = half_precision(largest / level)
        np.multiply(_round_int4(blocks, scale, work), scale, out=work)
        np.square(np.subtract(work, blocks, out=work), out=work)
        error = work.sum(axis=-1, keepdims=True)
        better = error < best
        np.copyto(best, error, where=better)
        np.copyto(best_scale, scale, where=better)
    chosen = _round_int4(blocks, best_scale, work)
    # The least-squares scale for these integers; it is positive since each has its weight's sign.
    energy = np.square(chosen).sum(axis=-1)
    scales = half_precision(np.where(energy > 0, (chosen * blocks).sum(axis=-1) / np.maximum(energy, 1), 1.0))
    return _restore(_round_int4(blocks, scales[:, None], work), scales, weight.shape)


def quantize_int8(weight: Float32) -> tuple[Int8, Float32]:
    """Round `(N, K)` to integers in [-127, 127] and scales `(N, K/32)`, float32 with values of float16."""
    blocks = _blocks(weight)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    scale = half_precision(np.where(largest > 0, largest / 127, 1.0))
    return _restore(np.clip(np.rint(blocks / scale), -127, 127), scale[:, 0], weight.shape)


def half_precision(scales: npt.NDArray[np.floating]) -> Float32:
    """The nearest positive numbers of float16, as float32."""
    return np.clip(scales, LEAST_SCALE, MOST_SCALE).astype(np.float16).astype(np.float32)


def dequantize(integers: Int8, scales: Float32) -> Float32:
    """Back to float32 `(N, K)`."""
    rows, columns = integers.shape
    blocks = integers.reshape(rows, columns // BLOCK_SIZE, BLOCK_SIZE).astype(np.float32)
    return np.asarray((blocks * scales[..., None]).reshape(rows, columns), dtype=np.float32)


def pack_int4(integers: Int8, size: int = BLOCK_SIZE) -> npt.NDArray[np.uint8]:
    """`(N, K)` in [-8, 7] to MatMulNBits' layout `(N, K/size, size/2)`: q + 8, the even element in the low nibble."""
    rows, columns = integers.shape
    shifted = (integers + 8).astype(np.uint8).reshape(rows, columns // size, size)
    return np.asarray(shifted[..., 0::2] | (shifted[..., 1::2] << 4), dtype=np.uint8)


def pack_int8(integers: Int8, size: int = BLOCK_SIZE) -> npt.NDArray[np.uint8]:
    """`(N, K)` to `(N, K/size, size)`: q + 128. Flattened, GatherBlockQuantized reads the same bytes as `(N, K)`."""
    rows, columns = integers.shape
    return (integers.astype(np.int16) + 128).astype(np.uint8).reshape(rows, columns // size, size)


def _round_int4(blocks: Float32, scale: Float32, out: Float32) -> Float32:
    np.rint(np.divide(blocks, scale, out=out), out=out)
    return np.clip(out, -8, 7, out=out)


def _blocks(weight: Float32) -> Float32:
    if weight.ndim != 2 or weight.shape[1] % BLOCK_SIZE:
        raise ValueError(f"a matrix with columns in multiples of {BLOCK_SIZE} is needed, not {weight.shape}")
    return np.ascontiguousarray(weight, dtype=np.float32).reshape(-1, BLOCK_SIZE)


def _restore(
    chosen: npt.NDArray[np.floating], scales: npt.NDArray[np.floating], shape: tuple[int, ...]
) -> tuple[Int8, Float32]:
    integers = chosen.astype(np.int8).reshape(shape)
    return integers, scales.astype(np.float32).reshape(shape[0], shape[1] // BLOCK_SIZE)
