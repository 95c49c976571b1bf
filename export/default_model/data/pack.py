"""Training sequences that share a beginning: it is computed once, and behind it stand branches side by side.

Each branch sees the beginning and itself, at the positions that it would have if it stood there alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

IGNORE = -100
SHARED = -1


@dataclass(frozen=True)
class Pack:
    """ids, labels, positions `(T,)` int64; weights `(T,)` float32; owner `(T,)` int64: `SHARED`, or the number of the
    branch. The label at t is the token at t + 1; `IGNORE` where nothing is learnt."""

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    owner: npt.NDArray[np.int64]


def shared(ids: npt.NDArray[np.int64]) -> Pack:
    """The beginning."""
    size = len(ids)
    return Pack(ids, np.full(size, IGNORE), np.arange(size), np.zeros(size, np.float32), np.full(size, SHARED))


def branch(
    question: npt.NDArray[np.int64],
    answer: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    number: int,
    start: int,
) -> Pack:
    """A question and the answer to learn, with a weight for each of the answer's tokens; `start` is where it begins."""
    ids = np.concatenate([question, answer])
    labels, padded = np.full(len(ids), IGNORE, np.int64), np.zeros(len(ids), np.float32)
    labels[len(question) - 1 : -1], padded[len(question) - 1 : -1] = answer, weights
    return Pack(ids, labels, np.arange(start, start + len(ids)), padded, np.full(len(ids), number))


def joined(parts: Sequence[Pack]) -> Pack:
    """One behind the other."""
    return Pack(*(np.concatenate(columns) for columns in zip(*map(astuple, parts), strict=True)))
