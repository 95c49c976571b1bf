"""The decode loop: one token a step, several tokens a pass.

A pass appends the last chosen token and a draft of guesses behind it, and gives the logits of all of them. A guess is
accepted where it is the token that is chosen from the logits before it. What rejected guesses wrote to the cache is
overwritten by the next pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from runtime.drafts import Drafter
from runtime.errors import DeadlineExceeded, RequestCancelled
from runtime.grammar import Constraint
from runtime.loop_guard import LoopGuard
from runtime.sampling import Sampler, Sampling
from runtime.sequence import Sequence

FinishReason = Literal["stop", "length", "repetition", "deadline", "cancelled"]


class Decoding(Iterator[int]):
    """Generated tokens, one after the other, without the end token. Made by `Engine.decode`.

    Args:
        draft: False for one token a pass; the tokens are the same.

    Attributes:
        finish_reason: why generation ended, once it has: `stop` (the end token, or the end of the grammar), `length`
            (the budget), `repetition` (a loop), `deadline` or `cancelled`.

    Raises (while iterating):
        NotFinite: the logits are not finite.
        GrammarError: the grammar ran over its limits.
    """

    def __init__(
        self,
        sequence: Sequence,
        *,
        vocab_size: int,
        eos_id: int,
        max_tokens: int,
        sampling: Sampling,
        constraint: Constraint | None,
        draft: bool = True,
    ) -> None:
        self.finish_reason: FinishReason | None = None
        self._sequence, self._constraint = sequence, constraint
        self._vocab_size = vocab_size  # of the tokenizer: a checkpoint may pad its vocabulary beyond it
        self._eos_id = eos_id
        self._sampler = Sampler(sampling, vocab_size)
        self._guard = LoopGuard()
        self._drafter = Drafter(sequence.text_keys) if draft else None
        self._left = min(max_tokens, sequence.limit - sequence.past)
        self._rows: npt.NDArray[np.float32] = sequence.logits[None]
        self._draft: list[int] = []
        # The row of the next token's logits; len(draft) + 1 when they are used up.
        self._at = 1 if sequence.holding else 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        timings = self._sequence.timings
        started, queued = time.perf_counter(), timings.queue_ms
        try:
            return self._next()
        finally:
            elapsed_ms = (time.perf_counter() - started) * 1e3
            timings.decode_ms += elapsed_ms - (timings.queue_ms - queued)

    def _next(self) -> int:
        if self.finish_reason is None:
            self.finish_reason = self._ended()
        if self.finish_reason is not None:
            raise StopIteration
        if self._at > len(self._draft):
            try:
                self._run_pass()
            except DeadlineExceeded:
                return self._stop("deadline")
            except RequestCancelled:
                return self._stop("cancelled")
        allowed = self._constraint.mask() if self._constraint is not None else None
        token = self._sampler.pick(self._rows[self._at, : self._vocab_size], allowed)
        self._sequence.logits = self._rows[self._at]
        if token == self._eos_id:
            return self._stop("stop")
        self._take(token)
        return token

    def _ended(self) -> FinishReason | None:
        if self._constraint is not None and self._constraint.finished:
            return "stop"
        if self._left <= 0:
            return "length"
        problem = self._sequence.request.problem()
        if problem is None:
            return None
        return "deadline" if isinstance(problem, DeadlineExceeded) else "cancelled"

    def _stop(self, reason: FinishReason) -> int:
        self.finish_reason = reason
        raise StopIteration

    def _run_pass(self) -> None:
        self._draft = []
        if self._drafter is not None:
            room = min(self._left, self._sequence.limit - self._sequence.past) - 1
            self._draft = self._drafter.propose(self._constraint, room)
        self._rows = self._sequence.decode_pass(self._draft)
        self._at = 0

    def _take(self, token: int) -> None:
        if self._constraint is not None:
            self._constraint.accept((token,))
        if self._drafter is not None:
            self._drafter.append(token)
        self._left -= 1
        self._sequence.counts.generated += 1
        if self._at < len(self._draft) and token == self._draft[self._at]:
            self._sequence.accept(token)
            self._at += 1
        else:
            if self._drafter is not None:
                self._drafter.report(len(self._draft), self._at)
            self._sequence.hold(token)
            self._at = len(self._draft) + 1
        if self._guard.looping(token) and not (self._constraint is not None and self._constraint.finished):
            self.finish_reason = "repetition"
