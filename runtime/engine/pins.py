"""Pinned prefixes: the beginning of many prompts, whose KV cache no other request may take."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineside.runtime.chat import Prompt

if TYPE_CHECKING:
    from lineside.runtime.engine.kv_pool import Entry, Keys, KVPool


@dataclass(eq=False)
class Pin:
    """A prefix that stays in its pool's caches for as long as somebody holds this object.

    What a failure of the device takes from the cache is computed anew by the next prompt that begins so.

    Attributes:
        keys: of its tokens, `(n,)`.
        prompt: the tokens themselves, with the pixels of their pictures.
        digests: of those pictures.
        entry: the cache that holds it; None where none does.
    """

    pool: KVPool
    keys: Keys
    prompt: Prompt
    digests: tuple[bytes, ...] = ()
    entry: Entry | None = None

    def held_by(self, entry: Entry) -> bool:
        """Whether a cache begins with it."""
        count = len(self.keys)
        return entry.pool is self.pool and np.array_equal(entry.keys[:count], self.keys)


class Pins:
    """All pins of the pools that share a budget. Whoever asks holds the budget's lock."""

    def __init__(self) -> None:
        self._pins: weakref.WeakSet[Pin] = weakref.WeakSet()

    def add(self, pin: Pin, entries: Iterable[Entry]) -> None:
        """From now on; one of the `entries` may hold it already."""
        pin.entry = next((entry for entry in entries if pin.held_by(entry)), None)
        self._pins.add(pin)

    def tokens(self, entry: Entry) -> int:
        """How many of an entry's first tokens are pinned."""
        return max((len(pin.keys) for pin in self._pins if pin.entry is entry), default=0)

    def look_again(self, entry: Entry) -> None:
        """What `entry` holds has changed: each pin that no cache holds may be held by it."""
        for pin in self._pins:
            if pin.entry is entry and not pin.held_by(entry):
                pin.entry = None
            if pin.entry is None and pin.held_by(entry):
                pin.entry = entry

    def gone(self, entry: Entry) -> None:
        """An entry was given up after all."""
        for pin in self._pins:
            if pin.entry is entry:
                pin.entry = None
