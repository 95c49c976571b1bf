"""Image embeddings of pictures seen lately, and the keys by which pictures and prompts are recognized."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Prompt
from lineside.runtime.sessions.interface import Vision

if TYPE_CHECKING:
    from lineside.runtime.manifest import ImageSettings

SECRET = secrets.token_bytes(16)
"""Nobody who sends pictures can search for two that are taken for one."""
Embeds = npt.NDArray[np.float32]


class VisionCache:
    """A vision tower that remembers: at most `capacity_bytes` of embeddings, least recently used first out."""

    def __init__(self, vision: Vision, capacity_bytes: int) -> None:
        self._vision = vision
        self._capacity_bytes = capacity_bytes
        self._embeds: OrderedDict[bytes, Embeds] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def clear(self) -> None:
        with self._lock:
            self._embeds.clear()
            self._bytes = 0

    def features(self, pixels: npt.NDArray[np.float32]) -> Embeds:
        """Features of every patch, `(H/p, W/p, D)`; not remembered."""
        return self._vision.features(pixels)

    def embed(self, pixels: npt.NDArray[np.float32], digest: bytes) -> Embeds:
        """Pixels `(3, H, W)` with their digest to embeddings `(I, hidden)`, computed or remembered."""
        with self._lock:
            known = self._embeds.get(digest)
            if known is not None:
                self._embeds.move_to_end(digest)
                self.hits += 1
                return known
        embeds = self._vision.embed(pixels)
        with self._lock:
            self.misses += 1
            if digest not in self._embeds and embeds.nbytes <= self._capacity_bytes:
                self._embeds[digest] = embeds
                self._bytes += embeds.nbytes
            while self._bytes > self._capacity_bytes:
                self._bytes -= self._embeds.popitem(last=False)[1].nbytes
        return embeds


def picture_digest(pixels: npt.NDArray[np.float32]) -> bytes:
    """Identity of a preprocessed picture: its shape and pixels."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16, key=SECRET)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def image_tokens(pixels: npt.NDArray[np.float32], settings: ImageSettings) -> int:
    """How many [IMG] tokens stand for a picture."""
    side = settings.patch_size * settings.spatial_merge_size
    return int(pixels.shape[1] // side) * int(pixels.shape[2] // side)


def prompt_keys(prompt: Prompt, digests: list[bytes], counts: list[int], image_token_id: int) -> npt.NDArray[np.int64]:
    """Keys `(T,)` of a prompt: token ids, and for the [IMG] tokens of a picture a negative number from its digest."""
    if not digests:
        return prompt.ids
    keys = prompt.ids.copy()
    places = np.flatnonzero(keys == image_token_id)
    marks = [-1 - int.from_bytes(digest[:7], "big") for digest in digests]
    keys[places] = np.repeat(np.asarray(marks, np.int64), counts)
    return keys
