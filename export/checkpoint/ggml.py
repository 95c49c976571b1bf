"""The block formats of ggml, taken apart into integers, scales and minima without rounding anything.

Source: the structs and reference dequantization of ggml (ggml-common.h and ggml-quants.c). A block of the K formats
holds 256 weights in sub-blocks with scales of their own. Every value is given as `scale * integer + minimum`, with
integers moved into a signed range where the format counts from zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.source import BlockFormat, Blocks

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class GgmlFormat:
    """`decode` takes raw blocks `(B, bytes)` to integers `(B, weights)`, scales and minima `(B, weights / size)`."""

    bytes: int
    weights: int
    block: BlockFormat
    decode: Callable[[Bytes], tuple[Any, Any, Any]]

    def rows(self, raw: Bytes) -> Blocks:
        """Raw rows `(n, bytes of a row)` to blocks."""
        integers, scales, minima = self.decode(raw.reshape(-1, self.bytes))
        shape = (len(raw), -1)
        return Blocks(
            integers.reshape(shape).astype(np.int8),
            scales.reshape(shape).astype(np.float32),
            None if minima is None else minima.reshape(shape).astype(np.float32),
        )


def dequantize_blocks(blocks: Blocks, size: int) -> npt.NDArray[np.float32]:
    """The floats `(n, K)` that the blocks stand for."""
    rows, columns = blocks.integers.shape
    values = blocks.integers.reshape(rows, columns // size, size) * blocks.scales[..., None]
    if blocks.minima is not None:
        values = values + blocks.minima[..., None]
    return np.asarray(values.reshape(rows, columns), dtype=np.float32)


def _half(raw: Bytes, at: int) -> npt.NDArray[np.float32]:
    """The float16 at byte `at` of each block, `(B, 1)`."""
    return np.asarray(np.ascontiguousarray(raw[:, at : at + 2]).view(np.float16), dtype=np.float32)


def _nibbles(raw: Bytes) -> npt.NDArray[np.int16]:
    """Low nibbles of all bytes, then the high ones."""
    return np.asarray(np.concatenate([raw & 15, raw >> 4], axis=1), dtype=np.int16)


def _fifth_bits(raw: Bytes) -> npt.NDArray[np.int16]:
    """32 bits, one for each weight, moved to bit 4."""
    bits = np.unpackbits(raw, axis=1, bitorder="little").astype(np.int16)
    return np.asarray(bits << 4, dtype=np.int16)


def _q4_0(raw: Bytes) -> tuple[Any, Any, Any]:
    return _nibbles(raw[:, 2:]) - 8, _half(raw, 0), None


def _q4_1(raw: Bytes) -> tuple[Any, Any, Any]:
    scale = _half(raw, 0)
    return _nibbles(raw[:, 4:]) - 8, scale, _half(raw, 2) + 8 * scale


def _q5_0(raw: Bytes) -> tuple[Any, Any, Any]:
    return (_nibbles(raw[:, 6:]) | _fifth_bits(raw[:, 2:6])) - 16, _half(raw, 0), None


def _q5_1(raw: Bytes) -> tuple[Any, Any, Any]:
    scale = _half(raw, 0)
    return (_nibbles(raw[:, 8:]) | _fifth_bits(raw[:, 4:8])) - 16, scale, _half(raw, 2) + 16 * scale


def _q8_0(raw: Bytes) -> tuple[Any, Any, Any]:
    return raw[:, 2:].view(np.int8), _half(raw, 0), None


def _k_scales(raw: Bytes) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Eight scales and eight (negative) minima from the head of a Q4_K or Q5_K block; six bits each in twelve bytes."""
    packed = raw[:, 4:16]
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return _half(raw, 0) * scales, -_half(raw, 2) * minima


def _k_nibbles(raw: Bytes) -> npt.NDArray[np.int16]:
    """128 bytes to `(B, 8, 32)`: each 32 bytes hold two sub-blocks, the low nibbles first."""
    groups = raw.reshape(-1, 4, 32)
    return np.stack([groups & 15, groups >> 4], axis=2).reshape(-1, 8, 32).astype(np.int16)


def _q4_k(raw: Bytes) -> tuple[Any, Any, Any]:
    scales, minima = _k_scales(raw)
    return _k_nibbles(raw[:, 16:]) - 8, scales, minima + 8 * scales


def _q5_k(raw: Bytes) -> tuple[Any, Any, Any]:
    scales, minima = _k_scales(raw)
    fifth = raw[:, 16:48, None] >> np.arange(8, dtype=np.uint8) & 1  # (B, 32, 8): bit i belongs to sub-block i
    integers = _k_nibbles(raw[:, 48:]) | (fifth.transpose(0, 2, 1).astype(np.int16) << 4)
    return integers - 16, scales, minima + 16 * scales


def _q6_k(raw: Bytes) -> tuple[Any, Any, Any]:
    low = raw[:, :128].reshape(-1, 2, 2, 32)
    nibbles = np.concatenate([low & 15, low >> 4], axis=2)  # (B, 2, 4, 32)
    pairs = raw[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
    integers = (nibbles | (pairs << 4)).astype(np.int16) - 32
    scales = np.ascontiguousarray(raw[:, 192:208]).view(np.int8)
    return integers, _half(raw, 208) * scales, None


# In the K formats a scale is the product of a float16 and an integer of 6 bits or more: float16 cannot hold it.
GGML_FORMATS = {
    "Q4_0": GgmlFormat(18, 32, BlockFormat(4, 32, minima=False, half_scales=True), _q4_0),
    "Q4_1": GgmlFormat(20, 32, BlockFormat(4, 32, minima=True, half_scales=True), _q4_1),
    "Q5_0": GgmlFormat(22, 32, BlockFormat(8, 32, minima=False, half_scales=True), _q5_0),
    "Q5_1": GgmlFormat(24, 32, BlockFormat(8, 32, minima=True, half_scales=True), _q5_1),
    "Q8_0": GgmlFormat(34, 32, BlockFormat(8, 32, minima=False, half_scales=True), _q8_0),
    "Q4_K": GgmlFormat(144, 256, BlockFormat(4, 32, minima=True), _q4_k),
    "Q5_K": GgmlFormat(176, 256, BlockFormat(8, 32, minima=True), _q5_k),
    "Q6_K": GgmlFormat(210, 256, BlockFormat(8, 16, minima=False), _q6_k),
}
