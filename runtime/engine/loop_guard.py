"""Notices that a model has begun to repeat itself for ever."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_PERIOD = 64
"""The longest block of tokens whose repetition is noticed."""
MIN_REPEATS = 4
MIN_TOKENS = 48
"""A list of boxes or a table may repeat a few tokens; this many in a row is a loop."""


class LoopGuard:
    """Counts, for every period up to `MAX_PERIOD`, how many tokens in a row equal the one a period earlier."""

    def __init__(self) -> None:
        self._recent: npt.NDArray[np.int64] = np.full(MAX_PERIOD, -1, np.int64)  # the latest token first
        self._runs: npt.NDArray[np.int64] = np.zeros(MAX_PERIOD, np.int64)
        periods = np.arange(1, MAX_PERIOD + 1)
        self._limits = np.maximum(periods * (MIN_REPEATS - 1), MIN_TOKENS - periods)

    def looping(self, token: int) -> bool:
        """Take note of a token; True when the end of the text is one block, repeated."""
        same = self._recent == token
        self._runs += 1
        self._runs *= same
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = token
        return bool((self._runs >= self._limits).any())
