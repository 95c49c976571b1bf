"""How large the numbers of a KV cache become: what the scales of an INT8 cache must hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineside.export.network.rope import Rope

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def largest_values(values: Float32) -> Float32:
    """Magnitude of each channel of `(T, heads, head_dim)`, as `(heads * head_dim,)`."""
    return np.asarray(np.abs(values).max(axis=0), np.float32).ravel()


def largest_keys(keys: Float32, rope: Rope, context_length: int) -> Float32:
    """The same of keys that are not turned yet, wherever in the context they may stand.

    A key is stored turned by its position, so what is in one channel of a pair here is in the other one far behind: a
    sample, which is short, does not show it.
    """
    inverse, factor = rope.frequencies(keys.shape[-1])
    first, second = np.split(keys.astype(np.float64), 2, axis=-1)
    length, angle = np.hypot(first, second), np.arctan2(second, first)
    swept = inverse * (context_length - 1)
    channels = [length * _largest_cosine(start, swept) for start in (angle, angle - np.pi / 2)]
    return np.asarray(np.concatenate(channels, axis=-1).max(axis=0) * factor, np.float32).ravel()


def _largest_cosine(start: Floats, swept: Floats) -> Floats:
    """Its largest magnitude between an angle and one that is `swept` further."""
    end = start + swept
    turns = np.floor(start / np.pi) != np.floor(end / np.pi)
    return np.where(turns, 1.0, np.maximum(np.abs(np.cos(start)), np.abs(np.cos(end))))
