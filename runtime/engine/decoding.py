"""The decode loop: one token a step, several tokens a pass.

A pass appends the last chosen token and a draft of guesses behind it, and gives the logits of all of them. A guess is
accepted where it is the token that is chosen from the logits before it. What rejected guesses wrote to the cache is
overwritten by the next pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from lineside.runtime.engine.drafts import Drafter
from lineside.runtime.engine.loop_guard import LoopGuard
from lineside.runtime.engine.sampling import Sampler, Sampling, probability
from lineside.runtime.engine.sequence import Sequence
from lineside.runtime.errors import DeadlineExceeded, RequestCancelled
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS
from lineside.runtime.text.canonical import Canonical
from lineside.runtime.timings import FinishReason

if TYPE_CHECKING:
    from lineside.runtime.grammar.constraint import Constraint


class Decoding(Iterator[int]):
    """Generated tokens, one after the other, without the end token. Made by `Engine.decode`.

    Args:
        forbidden: tokens that are never chosen, whatever their logits. A draft may hold some: they are not accepted.
        canonical: keeps the tokens of calls as the tokenizer writes them; what is yielded is what was chosen.
        draft: False for one token a pass; the tokens are the same.
        weigh: whether to keep the probability of each token that is chosen.

    Attributes:
        probability: of the last token among those that the grammar allowed, before any temperature; 1 unless `weigh`.
        finish_reason: why generation ended, once it has. What the text says is not looked at here: never `unreadable`.

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
        forbidden: frozenset[int] = frozenset(),
        canonical: Canonical | None = None,
        draft: bool = True,
        weigh: bool = False,
    ) -> None:
        self.finish_reason: FinishReason | None = None
        self.probability = 1.0
        self._weigh = weigh
        self._sequence, self._constraint, self._canonical = sequence, constraint, canonical
        self._forbidden = forbidden
        self._vocab_size = vocab_size  # of the tokenizer: a checkpoint may pad its vocabulary beyond it
        self._eos_id = eos_id
        self._sampler = Sampler(sampling, vocab_size, forbidden)
        self._guard = LoopGuard()
        self._drafter = Drafter(sequence.text_keys) if draft else None
        self._left = min(max_tokens, sequence.limit - sequence.past)
        self._rows: npt.NDArray[np.float32] = sequence.logits[None]
        self._picks = sequence.picks and sampling.temperature <= 0
        self._picked: list[int] = []  # the likeliest tokens of the last pass, in place of its rows
        self._draft: list[int] = []
        # The row of the next token's logits; len(draft) + 1 when they are used up.
        self._at = 1 if sequence.held else 0

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
        if self.finish_reason is not None:
            raise StopIteration
        if (ended := self._ended()) is not None:
            return self._stop(ended)
        if self._at > len(self._draft):
            try:
                self._run_pass()
            except DeadlineExceeded:
                return self._stop("deadline")
            except RequestCancelled:
                return self._stop("cancelled")
        token = self._choose()
        if token == self._eos_id:
            return self._stop("stop")
        self._take(token)
        return token

    def _choose(self) -> int:
        """Where the likeliest of all tokens is allowed, it is the likeliest of those that are: no logit is needed."""
        if self._picked and not self._weigh and self._may_take(self._picked[self._at]):
            self._sequence.leave_logits(self._at)
            return self._picked[self._at]
        row = self._sequence.row(self._at) if self._picked else self._rows[self._at]
        self._sequence.logits = row
        allowed = self._constraint.mask() if self._constraint is not None else None
        token = self._sampler.pick(row[: self._vocab_size], allowed)
        if self._weigh:
            self.probability = probability(row[: self._vocab_size], allowed, token)
        return token

    def _may_take(self, token: int) -> bool:
        if not 0 <= token < self._vocab_size or token in self._forbidden:
            return False
        return self._constraint is None or (token != self._eos_id and self._constraint.count_allowed((token,)) == 1)

    def _ended(self) -> FinishReason | None:
        if self._constraint is not None and self._constraint.finished:
            return "stop"
        if self._left <= 0 or self._sequence.past + self._sequence.held >= self._sequence.limit:
            return "length"
        problem = self._sequence.request.problem()
        if problem is None:
            return None
        return "deadline" if isinstance(problem, DeadlineExceeded) else "cancelled"

    def _stop(self, reason: FinishReason) -> int:
        self.finish_reason = reason
        self._finish()
        raise StopIteration

    def _finish(self) -> None:
        """Complete calls stand as the tokenizer writes them."""
        if self._canonical is None or self.finish_reason != "stop":
            return
        before = len(self._canonical.tail)
        tokens = self._canonical.finish()
        if tokens is not None:
            self._put(before, tokens)

    def _run_pass(self) -> None:
        self._draft = []
        if self._drafter is not None:
            held = self._sequence.held
            room = min(self._left - 1, self._sequence.limit - self._sequence.past - held, MAX_DECODE_TOKENS - held)
            self._draft = self._drafter.propose(self._constraint, max(room, 0))
        if self._picks:
            self._picked = self._sequence.pick_pass(self._draft)
        else:
            self._rows = self._sequence.decode_pass(self._draft)
        self._at = 0

    def _take(self, token: int) -> None:
        if self._constraint is not None:
            self._constraint.accept((token,))
        if self._drafter is not None:
            self._drafter.append(token)
        self._left -= 1
        self._sequence.counts.generated += 1
        replaced = self._canonicalize(token)
        looping = self.finish_reason is None and self._guard.looping(token)
        if looping and not (self._constraint is not None and self._constraint.finished):
            self.finish_reason = "repetition"
        if replaced:
            return
        if self._at < len(self._draft) and token == self._draft[self._at]:
            self._sequence.accept(token)
            self._at += 1
        else:
            if self._drafter is not None:
                self._drafter.report(len(self._draft), self._at)
            self._sequence.hold(token)
            self._at = len(self._draft) + 1

    def _canonicalize(self, token: int) -> bool:
        """True where other tokens, with the same text, stand in the place of the last ones and this one."""
        before = len(self._canonical.tail) if self._canonical is not None else 0
        tokens = self._canonical.push(token) if self._canonical is not None else None
        return tokens is not None and self._put(before, tokens)

    def _put(self, count: int, tokens: list[int]) -> bool:
        if not self._sequence.replace(count, tokens):
            self._canonical, self.finish_reason = None, "length"  # no room for them as they should be
            return False
        self._at, self._draft = 1, []
        return True
