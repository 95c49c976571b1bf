from __future__ import annotations

import numpy as np
import pytest

from lineside.runtime.engine.sampling import GREEDY, Sampler, Sampling
from lineside.runtime.errors import NotFinite


def logits(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)


def test_greedy_takes_the_largest_allowed() -> None:
    sampler = Sampler(GREEDY, 4)
    scores = logits(1, 5, 3, 4)
    assert sampler.pick(scores, None) == 1
    assert sampler.pick(scores, np.asarray([True, False, True, True])) == 3
    assert scores.tolist() == [1, 5, 3, 4]


def test_sampling_follows_the_softmax() -> None:
    """10,000 draws at temperature 2 against the exact probabilities; a masked token never comes."""
    sampler = Sampler(Sampling(temperature=2.0, seed=5), 4)
    allowed = np.asarray([True, True, False, True])
    scores = logits(2, 0, 9, 1)
    drawn = np.bincount([sampler.pick(scores, allowed) for _ in range(10_000)], minlength=4) / 10_000
    weights = np.where(allowed, np.exp(scores / 2.0), 0.0)
    np.testing.assert_allclose(drawn, weights / weights.sum(), atol=0.02)
    assert drawn[2] == 0


def test_same_seed_same_tokens() -> None:
    scores = np.random.default_rng(0).normal(size=100).astype(np.float32)
    runs = []
    for seed in (1, 1, 2):
        sampler = Sampler(Sampling(1.0, seed), 100)
        runs.append([sampler.pick(scores, None) for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_damaged_logits_are_an_error(bad: float) -> None:
    with pytest.raises(NotFinite):
        Sampler(GREEDY, 3).pick(logits(0, bad, 1), None)


def test_no_allowed_token_is_an_error() -> None:
    with pytest.raises(NotFinite):
        Sampler(GREEDY, 3).pick(logits(0, 1, 2), np.zeros(3, np.bool_))
