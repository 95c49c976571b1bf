"""The engine: prefill and the decode loop over one vision session and one decoder session.

An engine serves one request at a time; `exclusive()` is the lock that a request holds from prefill to its last token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from runtime.bundle import Bundle, open_bundle
from runtime.chat import Prompt
from runtime.errors import PromptTooLong
from runtime.grammar import Constraint, Grammars
from runtime.sampling import Sampler, Sampling
from runtime.session import Decoder, OrtDecoder, OrtVision, Vision
from runtime.tokenizer import Tokenizer

PREFILL_CHUNK = 512
"""Tokens in one prefill call: bounds the peak of its working memory."""
DEFAULT_CAPACITY = 4096

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass
class Timings:
    """Milliseconds of each stage of a request."""

    preprocess_ms: float = 0.0
    vision_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@contextmanager
def stopwatch(timings: Timings, stage: str) -> Iterator[None]:
    """Add the time inside the block to `timings.{stage}_ms`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        name = f"{stage}_ms"
        setattr(timings, name, getattr(timings, name) + (time.perf_counter() - started) * 1e3)


@dataclass
class Sequence:
    """A request in progress: what the cache holds, and the logits of the last position (a view)."""

    past: int
    logits: npt.NDArray[np.float32]
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True)
class Generation:
    """Generated token ids, without the end token, and why generation ended."""

    ids: tuple[int, ...]
    finish_reason: FinishReason


class Engine:
    """Runs one bundle. Make one with `Engine.open`; hand in other sessions to run on other hardware."""

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer, vision: Vision, decoder: Decoder) -> None:
        self.bundle = bundle
        self.tokenizer = tokenizer
        self.grammars = Grammars(tokenizer)
        self._vision = vision
        self._decoder = decoder
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, capacity: int = DEFAULT_CAPACITY, threads: int = 0) -> Engine:
        """Open a bundle on the CPU.

        Args:
            capacity: tokens in the KV cache, at most the bundle's context length.
            threads: 0 means one a core.

        Raises:
            BundleError: the bundle is missing, damaged or of another format.
        """
        bundle = open_bundle(path)
        tokenizer = Tokenizer(bundle.file("tekken.json"))
        capacity = min(capacity, bundle.manifest.context_length)
        return cls(bundle, tokenizer, OrtVision(bundle, threads), OrtDecoder(bundle, capacity, threads))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Held by a request for as long as it uses the cache."""
        with self._lock:
            yield

    def prefill(self, prompt: Prompt, reserve: int) -> Sequence:
        """Run the prompt through vision tower and decoder; `reserve` tokens must still fit behind it.

        Raises:
            PromptTooLong: prompt and reserve exceed the cache.
        """
        if len(prompt.ids) + reserve > self._decoder.capacity:
            raise PromptTooLong(
                f"the prompt has {len(prompt.ids)} tokens and the answer may take {reserve}; "
                f"the context holds {self._decoder.capacity}"
            )
        timings = Timings()
        with stopwatch(timings, "vision"):
            embeds = [self._vision.embed(pixels) for pixels in prompt.pixels]
        image_embeds = np.concatenate(embeds) if embeds else None
        sequence = Sequence(0, np.empty(0, np.float32), timings)
        self.extend(sequence, prompt.ids, image_embeds)
        return sequence

    def extend(
        self, sequence: Sequence, ids: npt.NDArray[np.int64], image_embeds: npt.NDArray[np.float32] | None = None
    ) -> None:
        """Append ids `(T,)` to a sequence, chunk by chunk."""
        used = 0
        with stopwatch(sequence.timings, "prefill"):
            for start in range(0, len(ids), PREFILL_CHUNK):
                chunk = ids[start : start + PREFILL_CHUNK]
                images = int((chunk == self.bundle.manifest.image_token_id).sum())
                part = image_embeds[used : used + images] if image_embeds is not None else None
                sequence.logits = self._decoder.prefill(chunk, sequence.past, part)
                sequence.past += len(chunk)
                used += images

    def decode(
        self,
        sequence: Sequence,
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        constraint: Constraint | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generation:
        """Generate until the end token, the end of the grammar, the budget, or `cancelled()`.

        Raises:
            NotFinite: the logits are not finite.
            GrammarError: the grammar ran over its limits.
        """
        vocab_size = self.tokenizer.vocab_size  # a checkpoint may pad its vocabulary beyond the tokenizer's
        sampler = Sampler(sampling or Sampling(), vocab_size)
        budget = min(max_tokens, self._decoder.capacity - sequence.past)
        ids: list[int] = []
        reason: FinishReason = "length"
        with stopwatch(sequence.timings, "decode"):
            while True:
                if constraint is not None and constraint.finished:
                    reason = "stop"
                    break
                if len(ids) >= budget:
                    break
                if cancelled is not None and cancelled():
                    reason = "cancelled"
                    break
                allowed = constraint.mask() if constraint is not None else None
                token = sampler.pick(sequence.logits[:vocab_size], allowed)
                if token == self.tokenizer.eos_id:
                    reason = "stop"
                    break
                ids.append(token)
                if constraint is not None:
                    constraint.accept((token,))
                sequence.logits = self._decoder.step(token, sequence.past)
                sequence.past += 1
        return Generation(tuple(ids), reason)
