"""KV caches under a budget of bytes, which are at the same time the prefix cache. Engines on one device share a budget.

A cache that was given back keeps its tokens. The next request whose prompt begins with the same tokens takes the
cache over and computes only what differs. Tokens are compared by keys: for text the token id, for a picture a hash of
its pixels. What is pinned (`runtime.engine.pins`) stays: only a request that begins with it takes over its cache.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Prompt
from lineside.runtime.engine.pins import Pin, Pins
from lineside.runtime.engine.scheduler import Priority, Queue, Request
from lineside.runtime.errors import DeviceOutOfMemory, KVBudgetExceeded
from lineside.runtime.sessions.interface import Decoder

log = logging.getLogger("lineside.kv")
Keys = npt.NDArray[np.int64]
GRAIN = 256
"""Capacities are multiples of it, so that a cache fits the next request too."""
WORTH_REUSING = 16
"""A shorter common prefix (the tokens that every conversation begins with) does not claim a cache."""


@dataclass(eq=False)
class Entry:
    """A cache of a pool and the keys of the tokens that it holds, `(n,)`.

    `proven` is the longest prefix that a later request has found here: the part that is worth keeping.
    """

    pool: KVPool
    cache: Any
    capacity: int
    keys: Keys
    busy: bool = True
    proven: int = 0
    used: int = 0

    @property
    def bytes(self) -> int:
        return self.pool.cost(self.capacity)


@dataclass(frozen=True)
class PoolStatistics:
    bytes: int
    caches: int
    busy: int
    reused_tokens: int
    evictions: int


class KVBudget:
    """What the caches of all pools on one device may take together, and those caches.

    Args:
        named_bytes: that; 0 for what the pools need by themselves.

    Attributes:
        fitting_bytes: what they may take since the device's memory was full; a cache that is alone is always tried.
    """

    def __init__(self, named_bytes: int = 0) -> None:
        self._named_bytes = named_bytes
        self.bytes = self.fitting_bytes = named_bytes
        self.entries: list[Entry] = []
        self.pins = Pins()
        self.queue = Queue()
        self.clock = 0

    def join(self, own_bytes: int) -> None:
        """A pool that needs `own_bytes` by itself shares this budget from now on."""
        if not self._named_bytes:
            self.bytes += own_bytes
            self.fitting_bytes += own_bytes

    def leave(self, own_bytes: int) -> None:
        """A pool that had joined with `own_bytes` does not share it any more."""
        if not self._named_bytes:
            self.bytes -= own_bytes
            self.fitting_bytes = max(self.fitting_bytes - own_bytes, 0)

    def used_bytes(self) -> int:
        return sum(entry.bytes for entry in self.entries)


class KVPool:
    """Lends caches of one decoder. Every byte is accounted for before it is allocated.

    (Where a prefix outgrows its cache and nothing else can go, the old cache is counted as gone while it is copied.)

    Args:
        budget: what all caches may take, those of other pools too; by itself a pool needs two of `context_length`
            tokens.
    """

    def __init__(self, decoder: Decoder, budget: KVBudget, context_length: int) -> None:
        self._decoder = decoder
        self._context_length = context_length
        self.budget = budget
        self._own_bytes = 2 * self.cost(self._fixed(context_length) or context_length)
        budget.join(self._own_bytes)
        self._left = False
        self._entries, self._pins, self._queue = budget.entries, budget.pins, budget.queue
        self._reused = self._evictions = 0

    def statistics(self) -> PoolStatistics:
        """Of this pool's own caches."""
        with self._queue.condition:
            own = self._own()
            size, busy = sum(entry.bytes for entry in own), sum(entry.busy for entry in own)
            return PoolStatistics(size, len(own), busy, self._reused, self._evictions)

    def acquire(self, keys: Keys, tokens: int, request: Request) -> tuple[Entry, int]:
        """A cache for `tokens` tokens, and how many of the first `keys` it holds already.

        Waits while other requests hold what is needed.

        Raises:
            KVBudgetExceeded: it would not fit if it were alone.
            DeadlineExceeded, RequestCancelled: while waiting.
        """
        capacity = self._capacity(tokens)
        if self.cost(capacity) > self.budget.bytes:
            needed, budget = self.cost(capacity) / 1e6, self.budget.bytes / 1e6
            raise KVBudgetExceeded(
                f"{tokens} tokens need {needed:.1f} MB of KV cache, the engine may use {budget:.1f} MB: "
                "shorten the prompt, or raise `model.kv_cache_mb`"
            )
        return self._queue.wait(request, lambda: self._take(keys, capacity))

    def pin(self, keys: Keys, tokens: int, prompt: Prompt, digests: tuple[bytes, ...] = ()) -> Pin:
        """Keep a prefix from now on, once a request has computed it; see `Pin` for the arguments.

        Args:
            tokens: what the requests that begin with it have room for.

        Raises:
            KVBudgetExceeded: the longest other request would find no room beside all that is pinned.
        """
        pin = Pin(self, keys, prompt, digests)
        with self._queue.condition:
            self._pins.add(pin, self._own())
            pinned = sum(entry.bytes for entry in self._entries if self._pins.tokens(entry))
            pinned += 0 if pin.entry is not None else self.cost(self._capacity(tokens))
            longest = self.cost(self._capacity(self._context_length))
        if pinned + longest > self.budget.bytes:
            raise KVBudgetExceeded(
                f"what is kept for every request takes {pinned / 1e6:.1f} MB of KV cache, and the longest "
                f"request beside it {longest / 1e6:.1f} MB; the engine may use {self.budget.bytes / 1e6:.1f} MB: raise "
                "`model.kv_cache_mb`, or lower `model.capacity`"
            )
        return pin

    def holder(self, request: Request) -> Request:
        """What a request is while it holds a cache: a guest is cancelled as soon as others wait for one."""
        if request.priority < Priority.GUEST:
            return request

        def cancelled() -> bool:
            wanted = self._queue.has_before(request.priority)
            return wanted or (request.cancelled is not None and request.cancelled())

        return replace(request, cancelled=cancelled)

    def release(self, entry: Entry, keys: Keys) -> None:
        """Give a cache back; it now holds tokens with these keys."""
        with self._queue.condition:
            entry.keys = keys
            entry.proven = min(entry.proven, len(keys))
            entry.busy = False
            if self._left:
                self._drop([entry])
            else:
                self._pins.look_again(entry)
            self._queue.condition.notify_all()

    def leave(self) -> None:
        """The model is used no more: its caches go, those that are lent when they are given back."""
        with self._queue.condition:
            if not self._left:
                self._left = True
                self._drop([entry for entry in self._own() if not entry.busy])
                self.budget.leave(self._own_bytes)
                self._queue.condition.notify_all()

    def clear(self) -> None:
        """Forget what this pool's idle caches hold."""
        with self._queue.condition:
            for entry in self._own():
                if not entry.busy:
                    entry.keys, entry.proven = entry.keys[:0], 0
                    self._pins.look_again(entry)

    def shrink(self, capacity: int) -> None:
        """A pass on a cache for `capacity` tokens, given back by now, found no memory: the idle ones go, and as many do
        not come again. What the others have fits, and one cache does.
        """
        with self._queue.condition:
            self._drop([entry for entry in self._entries if not entry.busy])
            self._bound(max(self.budget.used_bytes(), self.cost(capacity)))

    def _bound(self, size: int) -> None:
        """All caches take at most `size` bytes from now on."""
        if size < self.budget.fitting_bytes:
            self.budget.fitting_bytes = size
            log.warning("the device's memory was full: KV caches take at most %.1f MB from now on", size / 1e6)

    def _capacity(self, tokens: int) -> int:
        """Of a cache for `tokens` tokens, with room to spare where there is any."""
        if fixed := self._fixed(tokens):
            return fixed
        capacity = min(-(-tokens // GRAIN) * GRAIN, max(self._context_length, tokens))
        return capacity if self.cost(capacity) <= self.budget.bytes else tokens

    def _fixed(self, tokens: int) -> int:
        """The shortest of the lengths that the decoder has, where it has not all; 0 where it has."""
        return min((n for n in self._decoder.cache_lengths if n >= tokens), default=0)

    def cost(self, capacity: int) -> int:
        """Bytes of a cache for `capacity` tokens: keys, values, and what a session needs besides for each cache."""
        return capacity * self._decoder.bytes_per_token + self._decoder.bytes_per_cache

    def _own(self) -> list[Entry]:
        return [entry for entry in self._entries if entry.pool is self]

    def _take(self, keys: Keys, capacity: int) -> tuple[Entry, int] | None:
        """None where nothing can be had before another request gives its cache back."""
        self.budget.clock += 1
        # The last token is always computed, for its logits.
        matches = [(min(common_prefix(entry.keys, keys), len(keys) - 1), entry) for entry in self._own()]
        fitting = [
            (reused, not e.busy and e.capacity >= capacity and reused >= self._pins.tokens(e), e)
            for reused, e in matches
            if reused >= WORTH_REUSING
        ]
        reused, at_hand, best = max(fitting, key=lambda match: match[:2], default=(0, False, None))
        if best is None:
            entry = self._make_room(keys, capacity)
            return None if entry is None else (self._lend(entry, 0), 0)
        if at_hand and (2 * reused >= best.proven or not self._fits(capacity)):
            return self._lend(best, reused), reused
        entry = self._make_room(keys, capacity, keep=best)
        if entry is None:
            return None
        try:
            self._decoder.copy_prefix(best.cache, entry.cache, reused)
        except BaseException:
            self._entries.remove(entry)
            raise
        best.proven, best.used = max(best.proven, reused), self.budget.clock
        return self._lend(entry, reused), reused

    def _lend(self, entry: Entry, reused: int) -> Entry:
        entry.busy, entry.used = True, self.budget.clock
        entry.proven = max(entry.proven, reused)
        entry.keys = entry.keys[:reused]
        self._reused += reused
        return entry

    def _fits(self, capacity: int) -> bool:
        """Whether another cache can be had without giving one up."""
        return self.budget.used_bytes() + self.cost(capacity) <= self._room(capacity)

    def _room(self, capacity: int) -> int:
        """Bytes of all caches where one of them is for `capacity` tokens."""
        return max(self.budget.fitting_bytes, self.cost(capacity))

    def _make_room(self, keys: Keys, capacity: int, keep: Entry | None = None) -> Entry | None:
        """A new entry. Idle ones go for it, the least recently used first, and `keep`, which is copied from, last.

        Pinned ones stay while any request is under way, which will give its own back.
        """
        idle = sorted((entry for entry in self._entries if not entry.busy), key=lambda e: (e is keep, e.used))
        pinned = [entry for entry in idle if self._pins.tokens(entry)]
        victims = [entry for entry in idle if entry not in pinned]
        free = self._room(capacity) - self.budget.used_bytes()
        if free + sum(entry.bytes for entry in victims) < self.cost(capacity) and len(idle) == len(self._entries):
            victims += pinned  # the device's memory was full: nothing else could go, ever
        if free + sum(entry.bytes for entry in victims) < self.cost(capacity):
            return None
        cache = None
        while free < self.cost(capacity):
            victim = victims.pop(0)
            idle.remove(victim)
            free += victim.bytes
            self._evict(victim)
            if victim is keep:
                continue
            alike = victim.pool is self and victim.capacity == capacity
            if cache is None and alike and self._decoder.recycle(victim.cache):
                cache = victim.cache
            victim.cache = None  # its memory is gone before the new cache is allocated
        if cache is None:
            cache = self._allocate(capacity, [entry for entry in idle if entry is not keep])
        entry = Entry(self, cache, capacity, keys[:0])
        self._entries.append(entry)
        return entry

    def _allocate(self, capacity: int, idle: list[Entry]) -> Any:
        """A new cache. Others use the device too: where it is full, the idle ones go, and it is tried once more."""
        try:
            return self._decoder.allocate(capacity)
        except DeviceOutOfMemory:
            self._drop(idle)
        others = self.budget.used_bytes()
        try:
            cache = self._decoder.allocate(capacity)
        except DeviceOutOfMemory:
            self._bound(others + self.cost(capacity) - 1)
            raise
        self._bound(others + self.cost(capacity))
        return cache

    def _drop(self, victims: list[Entry]) -> None:
        """Give their memory back."""
        for victim in victims:
            self._evict(victim)
            victim.cache = None

    def _evict(self, victim: Entry) -> None:
        self._entries.remove(victim)
        self._pins.gone(victim)
        self._evictions += 1


def common_prefix(a: Keys, b: Keys) -> int:
    """How many leading elements agree."""
    length = min(len(a), len(b))
    differs = np.flatnonzero(a[:length] != b[:length])
    return int(differs[0]) if len(differs) else length
