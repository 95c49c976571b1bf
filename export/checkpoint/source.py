"""What the graphs ask of a checkpoint, whatever file format it comes in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class BlockFormat:
    """How a matrix that was rounded before it came here is rounded.

    Attributes:
        bits: 4 for integers in [-8, 7], 8 for integers in [-128, 127].
        size: columns that share a scale.
        minima: whether each block has a minimum besides its scale: `weight = scale * integer + minimum`.
        zeros: whether each block has a zero point instead: `weight = scale * (integer + 2 ** (bits - 1) - zero)`.
        half_scales: whether every scale is a number of float16, so that storing it as one loses nothing.
    """

    bits: int
    size: int
    minima: bool
    zeros: bool = False
    half_scales: bool = False

    @property
    def symmetric(self) -> bool:
        return not self.minima and not self.zeros


@dataclass(frozen=True)
class Blocks:
    """Some rows of a rounded matrix: integers `(n, K)` int8, scales and minima `(n, K / size)` float32, zero points
    `(n, K / size)` uint8.
    """

    integers: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    minima: npt.NDArray[np.float32] | None
    zeros: npt.NDArray[np.uint8] | None = None


class Source(Protocol):
    """The tensors of a checkpoint by Lineside's names (`decoder.layers.0.self_attn.q_proj.weight`)."""

    def __contains__(self, name: str) -> bool: ...

    def names(self) -> Iterator[str]:
        """Of everything that is there."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises MissingPart where the tensor is not there."""

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        """Consecutive row slices as float32. Raises Unsupported where a number is not finite."""

    def block_format(self, name: str) -> BlockFormat | None:
        """None for a tensor of floats."""

    def blocks(self, name: str) -> Iterator[Blocks]:
        """Consecutive row slices of a rounded matrix, exactly as they are stored."""

    def stamp(self) -> str:
        """A cheap identity of the files, to tell whether a broken-off export may go on."""
