from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.export.quantize.blocks import dequantize, pack_int4, pack_int8, quantize_int4, quantize_int8


def matrix(seed: int, rows: int = 6, blocks: int = 3, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    heavy = rng.standard_t(4, size=(rows, blocks * 32)) * scale
    return np.asarray(heavy, np.float32)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e4))
def test_scales_are_positive_and_errors_bounded(seed: int, scale: float) -> None:
    weight = matrix(seed, scale=scale)
    for quantize, low, high in ((quantize_int4, -8, 7), (quantize_int8, -127, 127)):
        integers, scales = quantize(weight)
        assert (scales > 0).all()
        assert np.isfinite(scales).all()
        assert low <= integers.min()
        assert integers.max() <= high


@given(st.integers(0, 10**6))
def test_searched_scales_beat_plain_rounding(seed: int) -> None:
    weight = matrix(seed)
    blocks = weight.reshape(-1, 32)
    plain = np.abs(blocks).max(axis=1, keepdims=True) / 7
    plain_error = np.square(np.clip(np.rint(blocks / plain), -8, 7) * plain - blocks).sum()
    found_error = np.square(dequantize(*quantize_int4(weight)) - weight).sum()
    assert found_error <= plain_error * 1.0001


def test_representable_weights_are_kept() -> None:
    """A block that already is integers times a scale, over the whole range -8 to 7, comes back as it was."""
    rng = np.random.default_rng(1)
    integers = rng.integers(-8, 8, size=(4, 64)).astype(np.int8)
    integers[:, ::32] = -8
    weight = dequantize(integers, np.full((4, 2), np.float16(0.03), np.float32))
    np.testing.assert_allclose(dequantize(*quantize_int4(weight)), weight, atol=1e-6)


def test_zero_blocks_stay_zero() -> None:
    for quantize in (quantize_int4, quantize_int8):
        integers, scales = quantize(np.zeros((2, 64), np.float32))
        assert (integers == 0).all()
        assert (scales > 0).all()


def test_packing_is_what_matmulnbits_reads() -> None:
    integers = np.arange(-8, 8, dtype=np.int8).repeat(2).reshape(1, 32)
    packed = pack_int4(integers)
    assert packed.shape == (1, 1, 16)
    low, high = packed & 15, packed >> 4
    np.testing.assert_array_equal(np.stack([low, high], axis=-1).reshape(1, 32).astype(int) - 8, integers)
    assert pack_int8(integers).reshape(-1).tolist() == (integers[0].astype(int) + 128).tolist()


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        quantize_int4(np.zeros((2, 48), np.float32))
