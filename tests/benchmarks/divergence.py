"""How far a rounded model is from the float one: KL divergence, likeliest token, perplexity, on a text of Python's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import numpy.typing as npt

TEXT = "\n".join(topics[name] for name in ("compound", "debugger"))
"""Two chapters of Python's own language reference, which no calibration reads."""
WINDOW = 512
Float32 = npt.NDArray[np.float32]
Logits = Callable[[Sequence[int]], Float32]
"""Token ids to logits behind each of them, `(T, vocab)`."""


@dataclass(frozen=True)
class Divergence:
    """Means over all positions: KL divergence from the float model in nats, share of positions with its likeliest
    token, and the text's perplexity.
    """

    kl: float
    same_top: float
    perplexity: float


def windows(ids: Sequence[int], count: int) -> list[list[int]]:
    """The first `count` windows of the text's tokens."""
    return [[int(token) for token in ids[i * WINDOW : (i + 1) * WINDOW]] for i in range(count)]


def divergences(exact: Iterable[tuple[Sequence[int], Float32]], models: Sequence[Logits]) -> list[dict[str, Any]]:
    """Of each of `models`, and at the end of the float model itself, whose logits come with each text."""
    per_text = []
    for ids, reference in exact:
        own = (logits(ids) for logits in models)
        per_text.append([_of(reference, logits, ids) for logits in itertools.chain(own, [reference])])
    found = []
    for values in zip(*per_text, strict=True):
        kl, same_top, loss = np.mean(values, axis=0)
        found.append(asdict(Divergence(float(kl), float(same_top), float(np.exp(loss)))))
    return found


def _of(reference: Float32, logits: Float32, ids: Sequence[int]) -> tuple[float, float, float]:
    """KL, share of same likeliest tokens, and the text's loss in nats a token."""
    exact, own = _log_softmax(reference), _log_softmax(logits)
    kl = float((np.exp(exact) * (exact - own)).sum(axis=1).mean())
    loss = -own[np.arange(len(ids) - 1), list(ids[1:])].mean()
    return kl, float((exact.argmax(1) == own.argmax(1)).mean()), float(loss)


def _log_softmax(logits: Float32) -> Float32:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float32)
