"""Quantizers on a matrix and inputs that are alike in some directions and unequal in size, as a network's are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from lineside.export.checkpoint.source import Blocks
from lineside.export.quantize import hessian
from lineside.export.quantize.awq import best_factors
from lineside.export.quantize.grid import Grid
from lineside.export.quantize.hessian import feedback, moments
from lineside.export.quantize.rounder import ASYMMETRIC, HQQ, INT4, Rounder, awq_rounder, gptq_rounder

Float32 = npt.NDArray[np.float32]
ROWS, COLUMNS, TOKENS = 96, 256, 1024


@dataclass(frozen=True)
class Layer:
    weights: Float32
    inputs: Float32

    def error(self, blocks: Blocks, factors: Float32 | float = 1.0) -> float:
        """Of what the rounded matrix gives, relative, squared."""
        left = (floats(blocks) / factors - self.weights) @ self.inputs.T
        return float(np.square(left).sum() / np.square(self.weights @ self.inputs.T).sum())


def floats(blocks: Blocks) -> Float32:
    count, columns = blocks.integers.shape
    integers = blocks.integers.reshape(count, -1, 32).astype(np.float32)
    if blocks.zeros is not None:
        integers += 8 - blocks.zeros[..., None].astype(np.float32)
    return np.asarray((integers * blocks.scales[..., None]).reshape(count, columns), np.float32)


@pytest.fixture(scope="module")
def layer() -> Layer:
    rng = np.random.default_rng(3)
    common = rng.normal(size=(TOKENS, 48)) @ rng.normal(size=(48, COLUMNS))
    inputs = (common + rng.normal(size=(TOKENS, COLUMNS))) * np.exp(rng.normal(0, 1, COLUMNS))
    return Layer(rng.standard_t(5, (ROWS, COLUMNS)).astype(np.float32), inputs.astype(np.float32))


def gptq(layer: Layer, *, symmetric: bool = True) -> Rounder:
    return gptq_rounder(feedback(layer.inputs, 32), moments(layer.inputs), symmetric=symmetric)


def test_each_quantizer_is_worth_what_it_knows(layer: Layer) -> None:
    alone = layer.error(INT4.round(layer.weights))
    assert layer.error(gptq(layer).round(layer.weights)) < alone / 5
    assert layer.error(gptq(layer, symmetric=False).round(layer.weights)) < alone / 6
    assert layer.error(ASYMMETRIC.round(layer.weights)) < alone
    assert layer.error(HQQ.round(layer.weights)) < alone


def test_awq_makes_up_for_the_sizes_of_inputs(layer: Layer) -> None:
    grid, sizes = Grid(symmetric=True), np.abs(layer.inputs).mean(axis=0)
    factors = best_factors([layer.weights], sizes, moments(layer.inputs), grid)
    rounder = awq_rounder(factors, moments(layer.inputs), symmetric=True)
    assert factors.max() / factors.min() > 2
    assert layer.error(rounder.round(layer.weights), factors) < 0.8 * layer.error(INT4.round(layer.weights))


def test_awq_with_an_input_that_is_always_zero(layer: Layer) -> None:
    inputs = layer.inputs * (np.arange(COLUMNS) != 7)
    grid, sizes = Grid(symmetric=True), np.abs(inputs).mean(axis=0)
    factors = best_factors([layer.weights], sizes, moments(inputs), grid)
    silent = Layer(layer.weights, inputs)
    rounder = awq_rounder(factors, moments(inputs), symmetric=True)
    assert silent.error(rounder.round(layer.weights), factors) < 0.8 * silent.error(INT4.round(layer.weights))


def test_a_hessian_by_parts_costs_little_of_what_gptq_gains(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = layer.error(gptq(layer).round(layer.weights))
    monkeypatch.setattr(hessian, "PART_COLUMNS", 100)  # three parts of whole blocks: 96, 96 and 64 columns
    found = feedback(layer.inputs, 32)
    assert [len(part.columns) for part in found] == [96, 96, 64]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.columns for part in found])), np.arange(COLUMNS))
    in_parts = layer.error(gptq(layer).round(layer.weights))
    assert whole < in_parts < layer.error(INT4.round(layer.weights)) / 1.5


@pytest.mark.parametrize("symmetric", [True, False])
def test_rows_are_rounded_alike_alone_and_together(layer: Layer, symmetric: bool) -> None:
    rounder = gptq(layer, symmetric=symmetric)
    together, alone = rounder.round(layer.weights), rounder.round(layer.weights[40:50])
    np.testing.assert_array_equal(alone.scales, together.scales[40:50])
    assert (alone.integers == together.integers[40:50]).mean() > 0.999  # sums in another order may tip a tie
    assert (together.zeros is None) == symmetric


@pytest.mark.parametrize(
    "rounder",
    [INT4, ASYMMETRIC, HQQ, "gptq", "gptq, zeros"],
    ids=["int4", "asymmetric", "hqq", "gptq", "gptq-asymmetric"],
)
def test_what_is_stored_can_be_stored(layer: Layer, rounder: Rounder | str) -> None:
    """Also for blocks of zeros, of one sign, of subnormal numbers, and with an outlier beyond float16."""
    weights = layer.weights.copy()
    weights[0], weights[1], weights[2], weights[3, 5] = 0, 1.5, 1e-9, 1e6
    weights[4] = np.abs(weights[4]) + 2
    if isinstance(rounder, str):
        rounder = gptq(layer, symmetric=rounder == "gptq")
    blocks = rounder.round(weights)
    assert blocks.integers.dtype == np.int8
    assert blocks.integers.min() >= -8
    assert blocks.integers.max() <= 7
    assert np.isfinite(blocks.scales).all()
    assert (blocks.scales > 0).all()
    np.testing.assert_array_equal(blocks.scales, blocks.scales.astype(np.float16).astype(np.float32))
    assert not floats(blocks)[0].any()
    if blocks.zeros is not None:
        assert blocks.zeros.max() <= 15


def test_inputs_that_are_always_zero_break_nothing(layer: Layer) -> None:
    silent = Layer(layer.weights, layer.inputs * (np.arange(COLUMNS) % 3 > 0))
    assert silent.error(gptq(silent).round(silent.weights)) < silent.error(INT4.round(silent.weights)) / 3
    nothing = Layer(layer.weights, np.zeros_like(layer.inputs))
    assert np.isfinite(floats(gptq(nothing).round(nothing.weights))).all()
