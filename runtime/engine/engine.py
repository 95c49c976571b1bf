"""The engine: bundle, tokenizer and sessions, and the requests that run on them.

Requests come from several threads. Each opens a `sequence`, which lends it a KV cache that may hold the beginning of
its prompt already; passes of different sequences take turns (`runtime.engine.scheduler`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Prompt
from lineside.runtime.cores import usable_cores
from lineside.runtime.engine.decoding import Decoding
from lineside.runtime.engine.kv_pool import Entry, Keys, KVBudget, KVPool
from lineside.runtime.engine.pins import Pin
from lineside.runtime.engine.sampling import Sampling
from lineside.runtime.engine.scheduler import Priority, Request, Scheduler
from lineside.runtime.engine.sequence import Chunking, Sequence
from lineside.runtime.engine.vision_cache import VisionCache, image_tokens, picture_digest, prompt_keys
from lineside.runtime.errors import DeviceFailed, DeviceOutOfMemory, NotFinite, PicturesUnsupported, PromptTooLong
from lineside.runtime.sessions.early import begin_loading
from lineside.runtime.sessions.interface import Decoder, OpenSessions, Vision
from lineside.runtime.text.canonical import Canonical
from lineside.runtime.text.vocabulary import TokenizerLater
from lineside.runtime.timings import FinishReason, Spent, Timings, stopwatch

if TYPE_CHECKING:
    from lineside.runtime.bundle import Bundle
    from lineside.runtime.grammar.constraint import Constraint, Grammars
    from lineside.runtime.sessions.ort import Loading
    from lineside.runtime.text.tokenizer import Tokenizer

log = logging.getLogger("lineside.engine")
DEFAULT_CAPACITY = 4096
MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What an engine may use.

    Attributes:
        capacity: tokens that one prompt and its answer may have; the bundle's context length bounds it.
        kv_cache_bytes: for the KV caches of all requests; 0 for two of `capacity` tokens, of each engine on the device.
        vision_cache_bytes: for the embeddings of pictures seen lately.
    """

    capacity: int = DEFAULT_CAPACITY
    kv_cache_bytes: int = 0
    vision_cache_bytes: int = 64 * MIB


@dataclass(frozen=True)
class Generation:
    """Generated token ids, without the end token, and why generation ended."""

    ids: tuple[int, ...]
    finish_reason: FinishReason


class Engine:
    """Runs one bundle. Make one with `Engine.open`; hand in other sessions to run on other hardware.

    Args:
        beside: an engine that runs in this process already. Where both are on the same device they have one scheduler
            and one budget for KV caches: passes take turns, and never fight for the cores.

    Attributes:
        device_failures: requests since the last that worked which failed with the device, its memory not being full.
        on_ended: called in the request's own thread when it has ended, however it ended. It must not raise.
    """

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer | TokenizerLater,
        vision: Vision | None,
        decoder: Decoder,
        limits: Limits | None = None,
        beside: Engine | None = None,
    ) -> None:
        limits = limits or Limits()
        manifest = bundle.manifest
        together = beside if beside is not None and beside._decoder.device == decoder.device else None
        self.bundle, self._tokenizer = bundle, tokenizer
        self._grammars: Grammars | None = None
        self._making_grammars = threading.Lock()
        self.capacity = min(limits.capacity, max(decoder.cache_lengths, default=manifest.context_length))
        budget = together.pool.budget if together else KVBudget(limits.kv_cache_bytes)
        self.pool: KVPool = KVPool(decoder, budget, self.capacity)
        self.scheduler: Scheduler = together.scheduler if together else Scheduler()
        self._decoder: Decoder = decoder
        self.device_failures = 0
        self.on_ended: Callable[[Request, Spent], None] | None = None
        self.chunking = Chunking(decoder.prefill_tokens, scored_heads=decoder.scored_heads)
        self.vision_cache = VisionCache(vision, limits.vision_cache_bytes) if vision else None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        threads: int = 0,
        limits: Limits | None = None,
        sessions: OpenSessions | None = None,
        beside: Engine | None = None,
        tokenizer: TokenizerLater | None = None,
    ) -> Engine:
        """Open a bundle, on the CPU unless `sessions` opens it elsewhere; `threads` 0 means as many as the process may
        use. Every file is read and held against its SHA-256 beside the loading. The tokenizer is made when a text
        first asks for it; `tokenizer` is one that is being made already. `beside`: see the class.

        Raises:
            BundleError: the bundle is missing, damaged or of another format.
            DeviceError: from `sessions`.
        """
        early = None if sessions else begin_loading(path, threads)
        from lineside.runtime.bundle import open_bundle, verified

        bundle = open_bundle(path)
        loading = early.session if early and early.sha256 == bundle.sha256 else None
        tokenizer = tokenizer or TokenizerLater.of(bundle)
        with verified(bundle):
            tokenizer.numbers()  # a file that is no tokenizer is told at the start
            vision, decoder = sessions(bundle) if sessions else _open_cpu(bundle, threads, loading)
            if vision is not None:
                _bound_opencv()
        return cls(bundle, tokenizer, vision, decoder, limits, beside)

    @property
    def tokenizer(self) -> Tokenizer:
        """Waits for it where it is still being made. Raises BundleFormat where mistral-common refuses its file."""
        return self._tokenizer.made() if isinstance(self._tokenizer, TokenizerLater) else self._tokenizer

    @property
    def grammars(self) -> Grammars:
        """Made with the first request for one: llguidance and what checks a schema need not be there before."""
        with self._making_grammars:
            if self._grammars is None:
                from lineside.runtime.grammar.constraint import Grammars

                self._grammars = Grammars(self.tokenizer)
        return self._grammars

    @property
    def decoder(self) -> Decoder:
        """The session itself, for who wants logits and no answer. Its passes must not run beside those of requests."""
        return self._decoder

    def pin(self, prompt: Prompt, *, reserve: int) -> Pin:
        """Compute the beginning of many prompts once, and keep it for as long as somebody holds the pin.

        A prompt that begins so and needs no more than `reserve` tokens behind it, its answer included, goes on in the
        same cache; a longer one copies it.

        Raises:
            EngineError: as `sequence`; KVBudgetExceeded also where the longest request would find no room beside it.
        """
        digests = [picture_digest(pixels) for pixels in prompt.pixels]
        keys = self._keys(prompt, digests)
        pin = self.pool.pin(keys, min(len(keys) + reserve, self.capacity), prompt, tuple(digests))
        if pin.entry is None:
            with self.sequence(prompt, reserve=reserve, request=Request(Priority.FRAME), pin=pin):
                pass
        return pin

    @contextmanager
    def sequence(
        self, prompt: Prompt, *, reserve: int, request: Request | None = None, pin: Pin | None = None
    ) -> Iterator[Sequence]:
        """A prefilled sequence in which `reserve` tokens still fit behind the prompt.

        `pin` is what the prompt begins with, where that is pinned: its pictures are not hashed again.

        Raises:
            PromptTooLong: prompt and reserve exceed the capacity.
            KVBudgetExceeded: they need more memory than the engine may use.
            PicturesUnsupported: pictures for a model without a vision tower.
            DeadlineExceeded, RequestCancelled: before the answer began.
        """
        request = request or Request()
        limit = len(prompt.ids) + reserve
        if limit > self.capacity:
            raise PromptTooLong(
                f"the prompt has {len(prompt.ids)} tokens and the answer may take {reserve}; "
                f"the context holds {self.capacity}: {self._longer_context()}"
            )
        timings, began = Timings(), time.perf_counter()
        known = [] if pin is None else [*pin.digests]
        digests = known + [picture_digest(pixels) for pixels in prompt.pixels[len(known) :]]
        keys = self._keys(prompt, digests)
        begin, begun = partial(self._begin, prompt, digests, keys, limit, request, timings, began), None
        try:
            begun = begin()
        except DeviceOutOfMemory as error:  # fewer caches beside it leave more memory for its passes
            log.warning("the request is tried once more: %s", str(error))  # a record must not hold the cache
        sequence, entry = begun or begin()  # once the error is gone, whose traceback holds the cache
        try:
            with self.watched():
                yield sequence
        except BaseException as error:
            self._end(sequence, entry, error)
            raise
        self._end(sequence, entry)
        self.device_failures = 0

    def _begin(
        self,
        prompt: Prompt,
        digests: list[bytes],
        keys: Keys,
        limit: int,
        request: Request,
        timings: Timings,
        began: float,
    ) -> tuple[Sequence, Entry]:
        """A prefilled sequence and its cache; the request was made at `began`, on `time.perf_counter()`."""
        with stopwatch(timings, "queue"), self.watched():
            entry, reused = self.pool.acquire(keys, limit, request)
        request = self.pool.holder(request)
        sequence = Sequence(self._decoder, self.scheduler, self.chunking, entry, keys, limit, request, timings)
        try:
            with self.watched():
                self._prefill(sequence, prompt, digests, reused)
        except BaseException as error:
            self._end(sequence, entry, error)
            raise
        sequence.first_token_ms = (time.perf_counter() - began) * 1e3
        return sequence, entry

    def _end(self, sequence: Sequence, entry: Entry, error: BaseException | None = None) -> None:
        """Give the cache back: empty where what it holds may not be finite, or not there."""
        lost = isinstance(error, (NotFinite, DeviceFailed))
        sequence.close()
        self.pool.release(entry, sequence.keys[:0] if lost else sequence.keys)
        if isinstance(error, DeviceOutOfMemory):
            self.pool.shrink(entry.capacity)  # or the next request would find no room either
        if self.on_ended is not None:
            self.on_ended(sequence.request, Spent(sequence.timings, sequence.counts, sequence.first_token_ms))

    def retire(self) -> None:
        """Another model takes its place: what is under way ends, and its memory goes with it."""
        self.pool.leave()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Counts the failures of the device in what is done within."""
        try:
            yield
        except DeviceFailed as error:
            if not isinstance(error, DeviceOutOfMemory):
                self.device_failures += 1
            raise

    def _longer_context(self) -> str:
        model = self.bundle.manifest.context_length
        return "shorten it" if self.capacity == model else f"shorten it, or raise `model.capacity` (at most {model})"

    def _keys(self, prompt: Prompt, digests: list[bytes]) -> npt.NDArray[np.int64]:
        image = self.bundle.manifest.image
        if image is None:
            if digests:
                raise PicturesUnsupported(f"the model {self.bundle.manifest.name} takes text only")
            return prompt.ids
        counts = [image_tokens(pixels, image) for pixels in prompt.pixels]
        return prompt_keys(prompt, digests, counts, self.bundle.manifest.image_token_id)

    def _prefill(self, sequence: Sequence, prompt: Prompt, digests: list[bytes], reused: int) -> None:
        """Vision tower and decoder for what is not in the cache."""
        sequence.skip(reused)
        is_image = prompt.ids == self.bundle.manifest.image_token_id
        skipped = int(is_image[:reused].sum())
        embeds = self._embed(sequence, prompt, digests, skipped)
        sequence.prefill(prompt.ids[reused:], is_image[reused:], embeds)

    def _embed(
        self, sequence: Sequence, prompt: Prompt, digests: list[bytes], skipped: int
    ) -> npt.NDArray[np.float32] | None:
        """Embeddings of the [IMG] tokens behind the first `skipped` ones; pictures that are cached whole are left
        out.
        """
        image = self.bundle.manifest.image
        if image is None or self.vision_cache is None:
            return None
        parts = []
        for pixels, digest in zip(prompt.pixels, digests, strict=True):
            count = image_tokens(pixels, image)
            if skipped < count:
                with sequence.turn(), stopwatch(sequence.timings, "vision"):
                    parts.append(self.vision_cache.embed(pixels, digest)[skipped:])
            skipped = max(skipped - count, 0)
        return np.concatenate(parts) if parts else None

    def decode(
        self,
        sequence: Sequence,
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        constraint: Constraint | None = None,
        forbidden: frozenset[int] = frozenset(),
        canonical: Canonical | None = None,
        draft: bool = True,
        weigh: bool = False,
    ) -> Decoding:
        """Iterate over the tokens that follow; see `Decoding`."""
        own = self._tokenizer
        vocab_size, eos_id = own.numbers() if isinstance(own, TokenizerLater) else (own.vocab_size, own.eos_id)
        return Decoding(
            sequence,
            vocab_size=vocab_size,
            eos_id=eos_id,
            max_tokens=max_tokens,
            sampling=sampling or Sampling(),
            constraint=constraint,
            forbidden=forbidden,
            canonical=canonical,
            draft=draft,
            weigh=weigh,
        )

    def generate(
        self,
        sequence: Sequence,
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        constraint: Constraint | None = None,
        draft: bool = True,
    ) -> Generation:
        """All tokens that follow."""
        decoding = self.decode(sequence, max_tokens=max_tokens, sampling=sampling, constraint=constraint, draft=draft)
        ids = tuple(decoding)
        return Generation(ids, decoding.finish_reason or "stop")


def _bound_opencv() -> None:
    """OpenCV itself does not see every container's quota; a model of texts needs none of it."""
    import cv2

    cv2.setNumThreads(usable_cores())


def _open_cpu(bundle: Bundle, threads: int, loading: Loading | None) -> tuple[Vision | None, Decoder]:
    """Imports ONNX Runtime. Raises BundleDamaged."""
    from lineside.runtime.sessions.ort import open_cpu

    return open_cpu(bundle, threads, loading)
