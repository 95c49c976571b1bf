"""Agreement of two models on a text, from their logits: KL divergence, the top token, perplexity.

Both read the same tokens (teacher forcing): at each position the probabilities of the next token are held against each
other. KL(A || B) (Kullback and Leibler, 1951) is 0 where they are the same, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.runtime.errors import NotFinite

TEXT = Path(__file__).with_name("text.txt")
"""About 2,000 tokens: ten languages, numbers, JSON, calls of functions, a few lines of code."""
ROWS = 8
"""Positions that are worked on at once, in float64."""
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TokenAgreement:
    """How B, the candidate, agrees with A, the reference, over all positions.

    Attributes:
        tokens: positions that were compared.
        kl: mean KL(A || B) of a token, in nats; `kl_p99` its 99th percentile, `kl_worst` its largest.
        top1: share of positions where both have the same likeliest token.
        perplexity_a, perplexity_b: e to the mean cross-entropy of the text's own tokens.
    """

    tokens: int
    kl: float
    kl_p99: float
    kl_worst: float
    top1: float
    perplexity_a: float
    perplexity_b: float


class TokenMeter:
    """Takes logits as they come, in any number of passes, and keeps a few figures a token."""

    def __init__(self) -> None:
        self._kl: list[npt.NDArray[np.float64]] = []
        self._same: list[npt.NDArray[np.bool_]] = []
        self._losses: tuple[list[npt.NDArray[np.float64]], ...] = ([], [])

    def add(self, a: Logits, b: Logits, following: npt.NDArray[np.int64]) -> None:
        """Logits `(T, vocab)` of A and of B, and the tokens `(T,)` that really follow.

        Raises NotFinite.
        """
        for start in range(0, len(following), ROWS):
            rows = slice(start, start + ROWS)
            log_a, log_b = (_log_softmax(logits[rows]) for logits in (a, b))  # (ROWS, vocab)
            self._kl.append(np.maximum((np.exp(log_a) * (log_a - log_b)).sum(1), 0.0))
            self._same.append(log_a.argmax(1) == log_b.argmax(1))
            for losses, values in zip(self._losses, (log_a, log_b), strict=True):
                losses.append(-values[np.arange(len(values)), following[rows]])

    def result(self) -> TokenAgreement:
        """Raises ValueError where nothing was added."""
        kl = np.concatenate(self._kl)
        with np.errstate(over="ignore"):
            a, b = (float(np.exp(np.concatenate(losses).mean())) for losses in self._losses)
        return TokenAgreement(
            tokens=len(kl),
            kl=float(kl.mean()),
            kl_p99=float(np.percentile(kl, 99)),
            kl_worst=float(kl.max()),
            top1=float(np.concatenate(self._same).mean()),
            perplexity_a=a,
            perplexity_b=b,
        )


def _log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    if not np.isfinite(logits).all():
        raise NotFinite("the model computed logits that are not finite: run `lineside check` on the bundle")
    values = logits.astype(np.float64)
    values -= values.max(1, keepdims=True)
    values -= np.log(np.exp(values).sum(1, keepdims=True))
    return values
