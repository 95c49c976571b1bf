"""KV caches under a budget of bytes, which are at the same time the prefix cache.

A cache that was given back keeps its tokens. The next request whose prompt begins with the same tokens takes the
cache over and computes only what differs. Tokens are compared by keys: for text the token id, for a picture a hash of
its pixels.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import KVBudgetExceeded
from runtime.scheduler import POLL_S, Request
from runtime.session import Decoder

Keys = npt.NDArray[np.int64]
GRAIN = 256
"""Capacities are multiples of it, so that a cache fits the next request too."""
WORTH_REUSING = 16
"""A shorter common prefix (the tokens that every conversation begins with) does not claim a cache."""


@dataclass(eq=False)
class Entry:
    """A cache and the keys of the tokens that it holds, `(n,)`.

    `proven` is the longest prefix that a later request has found here: the part that is worth keeping.
    """

    cache: Any
    capacity: int
    keys: Keys
    busy: bool = True
    proven: int = 0
    used: int = 0


@dataclass(frozen=True)
class PoolStatistics:
    bytes: int
    caches: int
    busy: int
    reused_tokens: int
    evictions: int


class KVPool:
    """Lends caches. Every byte is accounted for before it is allocated.

    Args:
        bytes_per_token: of keys and values of all layers.
        budget_bytes: what all caches together may take.
    """

    def __init__(self, decoder: Decoder, bytes_per_token: int, budget_bytes: int, context_length: int) -> None:
        self._decoder = decoder
        self.bytes_per_token = bytes_per_token
        self.budget_bytes = budget_bytes
        self._context_length = context_length
        self._entries: list[Entry] = []
        self._condition = threading.Condition()
        self._clock = self._reused = self._evictions = 0

    def statistics(self) -> PoolStatistics:
        with self._condition:
            busy = sum(entry.busy for entry in self._entries)
            return PoolStatistics(self._bytes(), len(self._entries), busy, self._reused, self._evictions)

    def acquire(self, keys: Keys, tokens: int, request: Request) -> tuple[Entry, int]:
        """A cache for `tokens` tokens, and how many of the first `keys` it holds already.

        Waits while other requests hold what is needed.

        Raises:
            KVBudgetExceeded: it would not fit if it were alone.
            DeadlineExceeded, RequestCancelled: while waiting.
        """
        capacity = min(-(-tokens // GRAIN) * GRAIN, max(self._context_length, tokens))
        if capacity * self.bytes_per_token > self.budget_bytes:
            capacity = tokens
        if capacity * self.bytes_per_token > self.budget_bytes:
            needed, budget = capacity * self.bytes_per_token / 1e6, self.budget_bytes / 1e6
            raise KVBudgetExceeded(
                f"{tokens} tokens need {needed:.1f} MB of KV cache, the engine may use {budget:.1f} MB: "
                "shorten the prompt, or raise `model.kv_cache_mb`"
            )
        with self._condition:
            while True:
                found = self._take(keys, capacity)
                if found is not None:
                    return found
                self._condition.wait(POLL_S)
                if (problem := request.problem()) is not None:
                    raise problem

    def release(self, entry: Entry, keys: Keys) -> None:
        """Give a cache back; it now holds tokens with these keys."""
        with self._condition:
            entry.keys = keys
            entry.proven = min(entry.proven, len(keys))
            entry.busy = False
            self._condition.notify_all()

    def clear(self) -> None:
        """Forget what the idle caches hold."""
        with self._condition:
            for entry in self._entries:
                if not entry.busy:
                    entry.keys, entry.proven = entry.keys[:0], 0

    def _bytes(self) -> int:
        return sum(entry.capacity for entry in self._entries) * self.bytes_per_token

    def _take(self, keys: Keys, capacity: int) -> tuple[Entry, int] | None:
        """None where nothing can be had before another request gives its cache back."""
        self._clock += 1
        matches = [(common_prefix(entry.keys, keys), entry) for entry in self._entries]
        reused, best = max(matches, key=lambda match: match[0], default=(0, None))
        if best is None or reused < WORTH_REUSING:
            reused, best = 0, None
        if best is not None and not best.busy and best.capacity >= capacity and 2 * reused >= best.proven:
            return self._lend(best, reused), reused
        entry = self._make_room(keys, capacity, keep=best)
        if entry is None:
            return None
        if best is not None and best is not entry:
            self._decoder.copy_prefix(best.cache, entry.cache, reused)
            best.proven, best.used = max(best.proven, reused), self._clock
        elif best is None:
            reused = 0
        return self._lend(entry, reused), reused

    def _lend(self, entry: Entry, reused: int) -> Entry:
        entry.busy, entry.used = True, self._clock
        entry.proven = max(entry.proven, reused)
        entry.keys = entry.keys[:reused]
        self._reused += reused
        return entry

    def _make_room(self, keys: Keys, capacity: int, keep: Entry | None) -> Entry | None:
        """A new entry; idle ones go, least recently used first, the one that is to be copied from last."""
        idle = sorted((entry for entry in self._entries if not entry.busy), key=lambda e: (e is keep, e.used))
        free = self.budget_bytes // self.bytes_per_token - sum(entry.capacity for entry in self._entries)
        if free + sum(entry.capacity for entry in idle) < capacity:
            return None
        while free < capacity:
            victim = idle.pop(0)
            if victim is keep and victim.capacity >= capacity:
                return victim
            self._entries.remove(victim)
            self._evictions += 1
            free += victim.capacity
        entry = Entry(self._decoder.allocate(capacity), capacity, keys[:0])
        self._entries.append(entry)
        return entry


def common_prefix(a: Keys, b: Keys) -> int:
    """How many leading elements agree."""
    length = min(len(a), len(b))
    differs = np.flatnonzero(a[:length] != b[:length])
    return int(differs[0]) if len(differs) else length
