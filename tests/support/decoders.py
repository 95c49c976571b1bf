"""A decoder that computes nothing, where a test is about who gets which cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.runtime.sessions.interface import Picker


class PlainDecoder:
    """Keeps the lengths of the prefixes that were copied from cache to cache in `copied`. A token takes one byte.

    Once there is a `problem`, copying raises it.
    """

    bytes_per_token, bytes_per_cache, prefill_tokens, scored_heads = 1, 0, 256, 0
    device, exact = "cpu", False
    cache_lengths: tuple[int, ...] = ()
    picker: Picker | None = None

    def __init__(self) -> None:
        self.copied: list[int] = []
        self.problem: Exception | None = None

    def allocate(self, capacity: int) -> Any:
        return np.zeros(capacity, np.int8)

    def recycle(self, cache: Any) -> bool:
        del cache
        return False

    def copy_prefix(self, source: Any, target: Any, length: int) -> None:
        del source, target
        if self.problem is not None:
            raise self.problem
        self.copied.append(length)

    def prefill(self, *_arguments: Any, **_options: Any) -> npt.NDArray[np.float32]:
        raise AssertionError("nothing is computed")

    def decode(self, *_arguments: Any) -> npt.NDArray[np.float32]:
        raise AssertionError("nothing is computed")
