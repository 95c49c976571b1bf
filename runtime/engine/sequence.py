"""A request in progress on an engine: what its cache holds, and the passes that append to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lineside.runtime.engine.kv_pool import Entry
from lineside.runtime.engine.scheduler import Request, Scheduler
from lineside.runtime.errors import PromptTooLong
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS, Decoder
from lineside.runtime.timings import Counts, Timings, stopwatch

Rows = TypeVar("Rows", npt.NDArray[np.float32], list[int])
MIN_CHUNK = 16
MAX_HELD = MAX_DECODE_TOKENS // 2


@dataclass
class Chunking:
    """How a prompt is cut, so that neither working memory nor the time of a turn is without a bound.

    Attributes:
        tokens: at most so many at once.
        scored_heads: attention heads whose float32 scores, for each new token and the cache's whole capacity, are held
            at once, up to `score_bytes`: those of a float16 cache. Over others ONNX Runtime works in tiles.
        turn_s: how long somebody else may have to wait for a chunk, by the speed of the last one.
    """

    tokens: int = 256
    scored_heads: int = 0
    score_bytes: int = 64 * 1024 * 1024
    turn_s: float = 0.5
    _tokens_per_s: float = 128.0

    def hurry_for_nobody(self) -> None:
        """Cut the same prompt always the same way: how it is cut rounds what comes out."""
        self.turn_s = float("inf")

    def size(self, capacity: int) -> int:
        """Tokens of the next chunk."""
        size = int(min(self.tokens, self._tokens_per_s * self.turn_s))
        if self.scored_heads:
            size = min(size, self.score_bytes // (4 * self.scored_heads * capacity))
        return max(size, min(MIN_CHUNK, self.tokens))

    def took(self, tokens: int, seconds: float) -> None:
        """Take note of a chunk's time."""
        if tokens >= MIN_CHUNK:
            self._tokens_per_s = tokens / max(seconds, 1e-6)


class Sequence:
    """Made by `Engine.sequence`, which prefills it.

    Args:
        keys: `(T,)` of the prompt; see `runtime.engine.kv_pool`.
        limit: tokens that prompt and answer may have together.

    Attributes:
        picks: whether the likeliest tokens are found where the logits are (`pick_pass`).
        first_token_ms: from the request to the logits of the first token of its answer; None before.
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
        self._logits: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._unread: int | None = None
        self.limit, self.picks = limit, decoder.picker is not None
        self._decoder, self._scheduler, self._chunking, self._entry = decoder, scheduler, chunking, entry
        self._keys = np.empty(limit, np.int64)
        self._keys[: len(keys)] = keys
        self._past = 0
        self._pending: list[int] = []
        self._first = 0
        self._closed = False
        self.first_token_ms: float | None = None

    @property
    def logits(self) -> npt.NDArray[np.float32]:
        """`(vocab,)` of the last position: a view that the next pass overwrites."""
        if self._unread is not None:
            self.logits = self.row(self._unread)
        return self._logits

    @logits.setter
    def logits(self, row: npt.NDArray[np.float32]) -> None:
        self._logits, self._unread = row, None

    def leave_logits(self, index: int) -> None:
        """They are `row(index)`, fetched only if somebody asks."""
        self._unread = index

    @property
    def past(self) -> int:
        """Tokens in the cache."""
        return self._past

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """Keys of the tokens in the cache, `(past,)`."""
        return self._keys[: self._past]

    @property
    def text_keys(self) -> npt.NDArray[np.int64]:
        """Keys of the whole text, a held token included."""
        return np.concatenate([self.keys, np.asarray(self._pending, np.int64)])

    def close(self) -> None:
        """The cache is somebody else's from now on."""
        self._closed = True

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
            stop = min(start + self._chunking.size(self._entry.capacity), len(ids))
            part = None
            if is_image is not None and image_embeds is not None:
                count = int(is_image[start:stop].sum())
                part, used = image_embeds[used : used + count], used + count
            with self.turn(), stopwatch(self.timings, "prefill"):
                began = time.perf_counter()
                rows = self._decoder.prefill(
                    self._entry.cache, ids[start:stop], self._past, part, logits=stop == len(ids)
                )
                self._chunking.took(stop - start, time.perf_counter() - began)
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

    def hold(self, *tokens: int) -> None:
        """Chosen tokens, to be taken by the next pass."""
        if self._pending:
            raise RuntimeError("tokens are held already")
        self._pending = list(tokens)

    def replace(self, count: int, tokens: list[int]) -> bool:
        """Let `tokens` stand, the last of them held, where the last `count` are; False where they do not fit."""
        text = self.text_keys
        start = len(text) - count
        if start + len(tokens) > self.limit:
            return False
        kept = 0
        for old, new in zip(text[start : self._past], tokens[:-1], strict=False):
            if old != new:
                break
            kept += 1
        self._past, self._pending = min(start + kept, self._past), []
        self._pending = tokens[kept:]
        return True

    @property
    def held(self) -> int:
        """How many tokens wait for the next pass."""
        return len(self._pending)

    def decode_pass(self, draft: list[int]) -> npt.NDArray[np.float32]:
        """Append the held tokens and run a draft behind them; logits `(1 + len(draft), vocab)` from the last held on.

        Raises:
            DeadlineExceeded, RequestCancelled: before the pass.
        """
        return self._pass(self._decoder.decode, draft)

    def pick_pass(self, draft: list[int]) -> list[int]:
        """As `decode_pass`, but the likeliest token of each position, -1 where its logit is not finite."""
        assert self._decoder.picker is not None
        return self._pass(self._decoder.picker.likeliest, draft)

    def row(self, index: int) -> npt.NDArray[np.float32]:
        """Logits `(vocab,)` behind the last `pick_pass`: 0 for the last held token, then those of the draft."""
        assert self._decoder.picker is not None
        return self._decoder.picker.row(self._entry.cache, self._first + index)

    def _pass(self, run: Callable[[Any, list[int], int], Rows], draft: list[int]) -> Rows:
        """What `run` gives from the last held token on."""
        if len(self._pending) > MAX_HELD:
            last = self._pending.pop()
            self.extend(np.empty(0, np.int64))
            self._pending = [last]
        with self.turn():
            rows = run(self._entry.cache, [*self._pending, *draft], self._past)
        self._first = len(self._pending) - 1
        for token in self._pending:
            self.accept(token)
        self._pending = []
        self.counts.passes += 1
        return rows[self._first :]

    def accept(self, token: int) -> None:
        """The last pass has written this token behind the others, and it stays."""
        self._keys[self._past] = token
        self._past += 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The engine is this sequence's for one pass."""
        if self._closed:
            raise RuntimeError("the sequence has ended: its cache was given back")
        started = time.perf_counter()
        with self._scheduler.turn(self.request):
            self.timings.queue_ms += (time.perf_counter() - started) * 1e3
            yield
