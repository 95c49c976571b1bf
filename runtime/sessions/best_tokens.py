"""The likeliest tokens of a pass, which a graph finds where its logits are: they alone come to the host."""

from __future__ import annotations

import numpy as np

from lineside.runtime.sessions.device_memory import Buffer, DeviceMemory
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS


class BestTokens:
    """What a graph gives as `best` (R, 1) int64 and `best_logit` (R, 1) float32."""

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self._best = memory.allocate((MAX_DECODE_TOKENS, 1), np.int64, twin=True)
        self._logit = memory.allocate((MAX_DECODE_TOKENS, 1), np.float32, twin=True)

    def outputs(self, rows: int) -> dict[str, tuple[Buffer, tuple[int, ...]]]:
        """By the tensor's name: a buffer, and the shape of what is used of it from its start."""
        return {"best": (self._best, (rows, 1)), "best_logit": (self._logit, (rows, 1))}

    def read(self, rows: int) -> list[int]:
        """Of the last pass, once it has ended; -1 where the logit is not finite."""
        for buffer in (self._best, self._logit):
            self._memory.pull(buffer, 0, rows)
        self._memory.synchronize()
        finite = np.isfinite(self._logit.array[:rows, 0])
        tokens: list[int] = np.where(finite, self._best.array[:rows, 0], -1).tolist()
        return tokens
