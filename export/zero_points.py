"""Zero points as MatMulNBits reads them: in uint8, of 4 bits two in a byte, the even one in the low nibble."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]


def pack_zeros(zeros: UInt8, bits: int) -> UInt8:
    """`(N, B)` to `(N, ceil(B * bits / 8))`."""
    if bits == 8:
        return zeros
    even = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
    return np.asarray(even[:, 0::2] | (even[:, 1::2] << 4), dtype=np.uint8)


def unpack_zeros(packed: UInt8, bits: int, blocks: int) -> UInt8:
    """Back to `(N, blocks)`."""
    if bits == 8:
        return packed
    pairs = np.stack([packed & 15, packed >> 4], axis=-1)
    return np.asarray(pairs.reshape(len(packed), -1)[:, :blocks], dtype=np.uint8)
