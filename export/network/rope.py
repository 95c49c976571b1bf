"""Rotary embedding: the inverse frequencies of a head, and what a checkpoint may do to them for longer contexts.

Sources: transformers' `modeling_rope_utils` (linear, llama3, yarn) and the papers that it names; llama.cpp's
`rope_freqs` for frequencies that are divided one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Scaling(Protocol):
    """What is done to the frequencies. `attention_factor` multiplies cosines and sines."""

    @property
    def attention_factor(self) -> float: ...

    def scaled(self, inverse: Floats, theta: float) -> Floats:
        """Inverse frequencies `(head_dim / 2,)` in, the same out."""


@dataclass(frozen=True)
class Linear:
    """All frequencies divided by one factor."""

    factor: float
    attention_factor: float = 1.0

    def scaled(self, inverse: Floats, theta: float) -> Floats:  # noqa: ARG002 - one signature for all
        return np.asarray(inverse / self.factor)


@dataclass(frozen=True)
class Divided:
    """Each frequency divided by a factor of its own, `(head_dim / 2,)`."""

    factors: tuple[float, ...]
    attention_factor: float = 1.0

    def scaled(self, inverse: Floats, theta: float) -> Floats:  # noqa: ARG002
        return np.asarray(inverse / np.asarray(self.factors))


@dataclass(frozen=True)
class Llama3:
    """Llama 3.1: long waves are divided, short ones stay, and between them one passes into the other."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int
    attention_factor: float = 1.0

    def scaled(self, inverse: Floats, theta: float) -> Floats:  # noqa: ARG002
        waves = self.original_context * inverse / (2 * math.pi)  # in the original context
        smooth = (waves - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        smooth = np.clip(smooth, 0, 1)
        return np.asarray((1 - smooth) * inverse / self.factor + smooth * inverse)


@dataclass(frozen=True)
class Yarn:
    """YaRN: divided where a frequency turns less than `beta_slow` times in the original context, kept above
    `beta_fast`, and a ramp between the two. `truncate` puts the ends of the ramp on whole places.
    """

    factor: float
    original_context: int
    beta_fast: float
    beta_slow: float
    attention_factor: float
    truncate: bool = True

    def scaled(self, inverse: Floats, theta: float) -> Floats:
        size = 2 * len(inverse)
        low, high = (self._place(turns, size, theta) for turns in (self.beta_fast, self.beta_slow))
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, size - 1)
        ramp = np.clip((np.arange(len(inverse)) - low) / (high - low if high != low else 0.001), 0, 1)
        return np.asarray(inverse / self.factor * ramp + inverse * (1 - ramp))

    def _place(self, turns: float, size: int, theta: float) -> float:
        """Of the frequency that turns so often in the original context."""
        return size * math.log(self.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))


def magnitude(factor: float, weight: float = 1.0) -> float:
    """YaRN's attention factor for contexts that are `factor` times longer."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


@dataclass(frozen=True)
class Rope:
    """Half-split rotary embedding over the whole head."""

    theta: float
    scaling: Scaling | None = None

    def frequencies(self, head_dim: int) -> tuple[Floats, float]:
        """Angles `(head_dim / 2,)` from one position to the next, and what cosines and sines are multiplied by."""
        inverse = self.theta ** -(np.arange(0, head_dim, 2) / head_dim)
        if self.scaling is None:
            return inverse, 1.0
        return self.scaling.scaled(inverse, self.theta), self.scaling.attention_factor

    def tables(self, length: int, head_dim: int) -> tuple[Floats, Floats]:
        """Cosines and sines `(length, head_dim / 2)` of every position."""
        inverse, factor = self.frequencies(head_dim)
        angles = np.outer(np.arange(length), inverse)
        return np.cos(angles) * factor, np.sin(angles) * factor


@dataclass(frozen=True)
class QueryScale:
    """Queries grow with their position: `1 + beta * ln(1 + floor(position / original_context))` (Llama 4)."""

    beta: float
    original_context: int

    def table(self, length: int) -> npt.NDArray[np.float32]:
        """`(length, 1)`."""
        steps = np.floor(np.arange(length) / self.original_context)
        return np.asarray(1 + self.beta * np.log1p(steps), np.float32)[:, None]


def axial_tables(grid: int, head_dim: int, theta: float) -> tuple[Floats, Floats]:
    """Cosines and sines `(grid * grid, head_dim / 2)` of a tower's flat positions, row * grid + column.

    Half of the frequencies turn with the row, half with the column.
    """
    inverse = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    angles = np.concatenate([np.outer(rows, inverse[0::2]), np.outer(columns, inverse[1::2])], axis=1)
    return np.cos(angles), np.sin(angles)
