"""A request in progress on an engine: what its cache holds, and the passes that append to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import PromptTooLong
from runtime.kv_pool import Entry
from runtime.scheduler import Request, Scheduler
from runtime.session import Decoder
from runtime.timings import Timings, stopwatch


@dataclass(frozen=True)
class Chunking:
    """How a prompt is cut: at most `tokens` at once, so that working memory has a bound.

    Over a float32 cache ONNX Runtime computes attention in tiles. Over any other it holds a float32 score for each
    head (`scored_heads`, else 0), new token and cached token: chunks get smaller where these would pass
    `attention_bytes`.
    """

    scored_heads: int = 0
    tokens: int = 256
    attention_bytes: int = 64 * 1024 * 1024

    def size(self, past: int) -> int:
        """Tokens of the next chunk behind `past` cached ones."""
        score_bytes = max(4 * self.scored_heads * (past + self.tokens), 1)
        return max(min(16, self.tokens), min(self.tokens, self.attention_bytes // score_bytes))


@dataclass
class Counts:
    """Tokens of a request: of its prompt, of those that the cache held already, generated; and its decode passes."""

    prompt: int = 0
    reused: int = 0
    generated: int = 0
    passes: int = 0


class Sequence:
    """Made by `Engine.sequence`, which prefills it.

    Args:
        keys: `(T,)` of the prompt; see `runtime.kv_pool`.
        limit: tokens that prompt and answer may have together.

    Attributes:
        logits: `(vocab,)` of the last position: a view that the next pass overwrites.
    """

    def __init__(
        self,
        decoder: Decoder,
        scheduler: Scheduler,
        chunking: Chunking,
        entry: Entry,
        keys: npt.NDArray[np.int64],
        limit: int,
        request: Request,
        timings: Timings,
    ) -> None:
        self.request, self.timings, self.counts = request, timings, Counts(prompt=len(keys))
        self.logits: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self.limit = limit
        self._decoder, self._scheduler, self._chunking, self._entry = decoder, scheduler, chunking, entry
        self._keys = np.empty(limit, np.int64)
        self._keys[: len(keys)] = keys
        self._past = 0
        self._pending: list[int] = []

    @property
    def past(self) -> int:
        """Tokens in the cache."""
        return self._past

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """Keys of the tokens in the cache, `(past,)`."""
        return self._keys[: self._past]

    def skip(self, tokens: int) -> None:
        """The cache holds the first `tokens` of the prompt already."""
        self._past = self.counts.reused = tokens

    def prefill(
        self,
        ids: npt.NDArray[np.int64],
        is_image: npt.NDArray[np.bool_] | None = None,
        image_embeds: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Append the prompt's ids `(T,)` behind what was skipped, chunk by chunk.

        Args:
            is_image: which of them are [IMG] tokens, `(T,)`; their embeddings `(I, hidden)` come in `image_embeds`.

        Raises:
            DeadlineExceeded, RequestCancelled: before a chunk.
        """
        start = used = 0
        while start < len(ids):
            stop = min(start + self._chunking.size(self._past), len(ids))
            part = None
            if is_image is not None and image_embeds is not None:
                count = int(is_image[start:stop].sum())
                part, used = image_embeds[used : used + count], used + count
            with self.turn(), stopwatch(self.timings, "prefill"):
                rows = self._decoder.prefill(
                    self._entry.cache, ids[start:stop], self._past, part, logits=stop == len(ids)
                )
            if len(rows):
                self.logits = rows[0]
            self._past += stop - start
            start = stop

    def extend(self, ids: npt.NDArray[np.int64]) -> None:
        """Append tokens `(T,)` that were not generated, such as the beginning of an answer.

        Raises:
            PromptTooLong: they do not fit.
        """
        tokens = np.asarray([*self._pending, *ids], np.int64)
        if self._past + len(tokens) > self.limit:
            raise PromptTooLong(f"{self._past + len(tokens)} tokens do not fit into a sequence of {self.limit}")
        self._pending = []
        self._keys[self._past : self._past + len(tokens)] = tokens
        self.prefill(tokens)

    def hold(self, token: int) -> None:
        """A chosen token, to be taken by the next pass."""
        self._pending = [token]

    @property
    def holding(self) -> bool:
        return bool(self._pending)

    def decode_pass(self, draft: list[int]) -> npt.NDArray[np.float32]:
        """Append the held token and run a draft behind it; logits `(1 + len(draft), vocab)`.

        Raises:
            DeadlineExceeded, RequestCancelled: before the pass.
        """
        with self.turn():
            rows = self._decoder.decode(self._entry.cache, [*self._pending, *draft], self._past)
        self.accept(self._pending[0])
        self._pending = []
        self.counts.passes += 1
        return rows

    def accept(self, token: int) -> None:
        """The last pass has written this token behind the others, and it stays."""
        self._keys[self._past] = token
        self._past += 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The engine is this sequence's for one pass."""
        started = time.perf_counter()
        with self._scheduler.turn(self.request):
            self.timings.queue_ms += (time.perf_counter() - started) * 1e3
            yield
