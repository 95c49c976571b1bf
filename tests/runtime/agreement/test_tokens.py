"""Agreement on tokens, against what can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from lineside.runtime.agreement.tokens import ROWS, TEXT, TokenMeter
from lineside.runtime.errors import NotFinite


def logits(*rows: tuple[float, ...], shift: float = 0.0) -> npt.NDArray[np.float32]:
    """Of these probabilities; a shift changes none of them."""
    return np.asarray(np.log(np.asarray(rows)) + shift, np.float32)


def test_by_hand() -> None:
    meter = TokenMeter()
    a, b = (0.5, 0.25, 0.25), (0.25, 0.5, 0.25)
    meter.add(logits(a, a, shift=3.0), logits(b, a, shift=-70.0), np.asarray([0, 1]))
    found = meter.result()
    kl = 0.5 * math.log(2) - 0.25 * math.log(2)  # of the first token; none of the second
    assert (found.tokens, found.top1) == (2, 0.5)
    assert found.kl == pytest.approx(kl / 2, rel=1e-5)
    assert found.kl_worst == pytest.approx(kl, rel=1e-5)
    assert found.kl_p99 == pytest.approx(0.99 * kl, rel=1e-5), "between the two"
    assert found.perplexity_a == pytest.approx(math.sqrt(2 * 4), rel=1e-5)
    assert found.perplexity_b == pytest.approx(math.sqrt(4 * 4), rel=1e-5)


def test_the_order_of_the_two_counts() -> None:
    """KL(A || B) is not KL(B || A): what A holds likely and B does not weighs most."""
    sure, unsure, following = logits((0.98, 0.01, 0.01)), logits((1 / 3, 1 / 3, 1 / 3)), np.asarray([0])
    there, back = TokenMeter(), TokenMeter()
    there.add(sure, unsure, following)
    back.add(unsure, sure, following)
    assert there.result().kl == pytest.approx(0.98 * math.log(2.94) + 0.02 * math.log(0.03), rel=1e-4)
    assert back.result().kl == pytest.approx(-(math.log(2.94) + 2 * math.log(0.03)) / 3, rel=1e-4)


def test_the_same_in_any_number_of_passes() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 3, (2, 2 * ROWS + 3, 50)).astype(np.float32)
    following = rng.integers(0, 50, len(a))
    at_once, in_passes = TokenMeter(), TokenMeter()
    at_once.add(a, b, following)
    for start in range(0, len(a), 5):
        in_passes.add(a[start : start + 5], b[start : start + 5], following[start : start + 5])
    assert at_once.result() == in_passes.result()
    own = TokenMeter()
    own.add(a, a, following)
    assert (own.result().kl, own.result().kl_worst, own.result().top1) == (0.0, 0.0, 1.0)


def test_logits_that_are_not_finite_are_refused() -> None:
    broken = np.asarray([[0.0, np.nan]], np.float32)
    with pytest.raises(NotFinite, match="lineside check"):
        TokenMeter().add(np.zeros((1, 2), np.float32), broken, np.asarray([0]))


def test_a_text_ships() -> None:
    assert len(TEXT.read_text(encoding="utf-8").split()) > 900
