"""Choosing the next token from logits: greedy, or seeded sampling at a temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.runtime.errors import NotFinite

RECOMMENDED_TEMPERATURE = 0.15
"""Mistral Small 3.2's model card recommends it."""


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy. The same seed and prompt give the same answer on the same machine."""

    temperature: float = RECOMMENDED_TEMPERATURE
    seed: int = 0


GREEDY = Sampling(temperature=0.0)


class Sampler:
    """Draws tokens, never one of those `forbidden`; its working memory is allocated once for a vocabulary."""

    def __init__(self, sampling: Sampling, vocab_size: int, forbidden: frozenset[int] = frozenset()) -> None:
        self._temperature = sampling.temperature
        self._rng = np.random.default_rng(sampling.seed)
        self._scores = np.empty(vocab_size, np.float64)
        self._masked = np.empty(vocab_size, np.float32)
        self._forbidden = forbidden
        self._forbidden_ids = np.asarray(sorted(forbidden), np.int64)

    def pick(self, logits: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_] | None) -> int:
        """The next token, among those `allowed` `(vocab,)` where a mask is given.

        Raises:
            NotFinite: the logits `(vocab,)` hold NaN or nothing finite: a damaged weight.
        """
        if allowed is not None:
            self._masked.fill(-np.inf)
            np.copyto(self._masked, logits, where=allowed)
            logits = self._masked
        best = _likeliest(logits)
        if best in self._forbidden:
            np.copyto(self._masked, logits)
            self._masked[self._forbidden_ids] = -np.inf
            logits, best = self._masked, _likeliest(self._masked)
        if self._temperature <= 0:
            return best
        np.subtract(logits, logits[best], out=self._scores)
        self._scores /= self._temperature
        np.exp(self._scores, out=self._scores)
        self._scores[self._forbidden_ids] = 0.0
        np.cumsum(self._scores, out=self._scores)
        # side="right" never lands on a token of probability zero.
        return int(np.searchsorted(self._scores, self._rng.random() * self._scores[-1], side="right"))


def _likeliest(logits: npt.NDArray[np.float32]) -> int:
    best = int(np.argmax(logits))  # the first NaN, where there is one
    if not np.isfinite(logits[best]):
        raise NotFinite("the model computed logits that are not finite: run `lineside check` on the bundle")
    return best


def probability(logits: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_] | None, token: int) -> float:
    """Of `token` among those `allowed` `(vocab,)`, or among all, at a temperature of 1; logits are `(vocab,)`."""
    among = logits if allowed is None else logits[allowed]
    return float(1.0 / np.exp(among - logits[token], dtype=np.float64).sum())
