"""What the engine needs of a session, whatever it runs on: a vision tower, a decoder, and KV caches for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lineside.runtime.bundle import Bundle

MAX_DECODE_TOKENS = 32
"""The longest run of tokens that one `Decoder.decode` takes."""


class KVCache(Protocol):
    """Keys and values of one sequence. `capacity` is in tokens."""

    @property
    def capacity(self) -> int: ...


class Picker(Protocol):
    """What finds the likeliest tokens where the logits are, so that they need not come to the host."""

    def likeliest(self, cache: Any, ids: Sequence[int], past: int) -> list[int]:
        """As `Decoder.decode`, but the likeliest token of every position, -1 where its logit is not finite."""

    def row(self, cache: Any, index: int) -> npt.NDArray[np.float32]:
        """Logits `(vocab,)` of a position of the cache's last pass: a view that the next one may overwrite."""


class Decoder(Protocol):
    """A decoder session. Its caches are its own: they may lie in a device's memory.

    Attributes:
        picker: None where the logits are on the host anyway, or the session cannot search them.
        bytes_per_token: of keys and values of all layers.
        bytes_per_cache: what a cache takes besides.
        prefill_tokens: the longest chunk of a prompt that it takes at once.
        device: what it runs on: `cpu` or `cuda`.
        scored_heads: see `runtime.engine.sequence.Chunking`.
        cache_lengths: those that it can run with, in tokens; empty where any length will do.
        exact: whether it is to reproduce what a bundle's graphs compute with activations that are not rounded.
    """

    bytes_per_token: int
    bytes_per_cache: int
    prefill_tokens: int
    scored_heads: int
    device: str
    cache_lengths: tuple[int, ...]
    exact: bool

    @property
    def picker(self) -> Picker | None: ...

    def allocate(self, capacity: int) -> Any:
        """A `KVCache` for `capacity` tokens, one of `cache_lengths` where there are any.

        Raises DeviceOutOfMemory.
        """

    def recycle(self, cache: Any) -> bool:
        """Make a cache that nobody needs as good as new, so that the graphs recorded for it serve the next request;
        False where a new one costs less.
        """

    def copy_prefix(self, source: Any, target: Any, length: int) -> None:
        """Copy the first `length` tokens of one cache to another."""

    def prefill(
        self,
        cache: Any,
        ids: npt.NDArray[np.int64],
        past: int,
        image_embeds: npt.NDArray[np.float32] | None = None,
        *,
        logits: bool = True,
    ) -> npt.NDArray[np.float32]:
        """Append ids `(T,)` behind `past` cached tokens; `image_embeds` `(I, hidden)` are those of their [IMG] tokens.

        Returns:
            Logits `(1, vocab)` of the last position, `(0, vocab)` where none are wanted: a view that the cache's next
            pass may overwrite.

        Raises DeviceFailed: what the cache holds is lost then.
        """

    def decode(self, cache: Any, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        """Append at most `MAX_DECODE_TOKENS` ids; logits `(T, vocab)` of every position, a view as above.

        Raises DeviceFailed, as above.
        """


class Vision(Protocol):
    def embed(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalized pixels `(3, H, W)` to image embeddings `(I, hidden)`. Raises DeviceFailed."""

    def features(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalized pixels `(3, H, W)` to the tower's features of every patch, `(H/p, W/p, D)`."""


OpenSessions = Callable[["Bundle"], tuple[Vision | None, Decoder]]
"""What opens a bundle's sessions on some device. Raises DeviceError, BundleError."""
