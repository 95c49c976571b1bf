"""The graphs that a gate sees with are those that the recipe makes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lineside.export.default_model.gate_features import (
    BLOCKS,
    FEATURES,
    NEAREST,
    Weights,
    build_features,
    build_nearest,
    folded,
)
from lineside.runtime.defaults import GATE_GRAPHS

CHANNELS = (32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112)


def made_up() -> Weights:
    """In the shapes of EfficientNet-Lite0."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}

    def layer(conv: str, norm: str, *shape: int) -> None:
        weights[f"{conv}.weight"] = rng.normal(size=shape).astype(np.float32)
        for name in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{name}"] = rng.uniform(0.5, 1, shape[0]).astype(np.float32)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    for index, (block, before, after) in enumerate(zip(BLOCKS, CHANNELS, CHANNELS[1:], strict=False)):
        at, wide = f"_blocks.{index}", before * 6 if block.expand else before
        if block.expand:
            layer(f"{at}._expand_conv", f"{at}._bn0", wide, before, 1, 1)
        layer(f"{at}._depthwise_conv", f"{at}._bn1", wide, 1, block.kernel, block.kernel)
        layer(f"{at}._project_conv", f"{at}._bn2", after, wide, 1, 1)
    return weights


def test_the_graph_that_ships_has_the_structure_of_the_recipe() -> None:
    shipped, made = onnx.load(GATE_GRAPHS / FEATURES).graph, build_features(made_up()).graph
    assert list(shipped.node) == list(made.node)
    assert list(shipped.input) == list(made.input)
    assert list(shipped.output) == list(made.output)
    shapes = [[(one.name, tuple(one.dims), one.data_type) for one in graph.initializer] for graph in (shipped, made)]
    assert shapes[0] == shapes[1]
    assert (GATE_GRAPHS / FEATURES).stat().st_size < 2e6


def test_the_search_that_ships_is_made_byte_by_byte() -> None:
    assert (GATE_GRAPHS / NEAREST).read_bytes() == build_nearest().SerializeToString(deterministic=True)


def test_the_shipped_weights_are_trained_ones() -> None:
    graph = onnx.load(GATE_GRAPHS / FEATURES).graph
    values = [numpy_helper.to_array(one) for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT16]
    assert all(np.isfinite(one).all() and one.any() for one in values)


def test_a_folded_convolution_is_the_convolution_and_its_normalization() -> None:
    weights = made_up()
    x = np.random.default_rng(1).normal(size=16).astype(np.float32)
    plain = weights["_blocks.1._expand_conv.weight"][:, :, 0, 0] @ x
    norm = {name: weights[f"_blocks.1._bn0.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    expected = (plain - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-3) * norm["weight"] + norm["bias"]
    w, bias = folded(weights, "_blocks.1._expand_conv", "_blocks.1._bn0")
    assert w[:, :, 0, 0] @ x + bias == pytest.approx(expected, abs=1e-4)
