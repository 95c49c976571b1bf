"""How large keys become anywhere in the context."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.export.calibration.cache_range import largest_keys
from lineside.export.network.rope import Linear, Rope, Yarn

SIZE = 16


@pytest.mark.parametrize("scaling", [None, Linear(4.0), Yarn(16.0, 512, 32.0, 1.0, 1.3)])
@given(theta=st.sampled_from([100.0, 1e4, 1e6, 1e9]), context=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1))
def test_as_if_every_position_were_tried(scaling: Linear | Yarn | None, theta: float, context: int, seed: int) -> None:
    """Never less than what a key becomes somewhere in the context, nor much more than the most."""
    keys = np.random.default_rng(seed).normal(size=(3, 2, SIZE)).astype(np.float32)
    rope = Rope(theta, scaling)
    cos, sin = (table[:, None, None] for table in rope.tables(context, SIZE))
    first, second = np.split(keys.astype(np.float64), 2, axis=-1)
    turned = np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    tried = np.abs(turned).max(axis=(0, 1)).ravel()
    found = largest_keys(keys, rope, context)
    assert (found >= tried * (1 - 1e-6)).all()
    inverse, factor = rope.frequencies(SIZE)
    lengths = np.hypot(first, second).max(axis=0) * factor
    between = np.concatenate([lengths * (1 - np.cos(np.minimum(inverse, np.pi) / 2))] * 2, axis=-1).ravel()
    assert (found <= tried + between + 1e-6).all(), "only what lies between two positions may be added"
