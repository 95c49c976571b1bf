"""A convolutional network that knows ball screws, from which the tower learns: EfficientNet-Lite2, fine-tuned.

From a few hundred pictures a vision transformer does not learn what carries over to a camera position that it has not
seen; a network that saw a million photographs before does. It cannot be the tower, but it can mark any varied picture
for it, and lend it its features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lineside.export.default_model.data import ballscrew
from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.networks.dense import cell_map, resized
from lineside.export.default_model.networks.efficientnet import LITE2_BLOCKS, LITE2_CHANNELS, lite2, stages
from lineside.export.default_model.networks.losses import marked
from lineside.export.default_model.networks.network import normalized
from lineside.export.default_model.networks.size import SCREW_SIZES

BATCH = 8
WIDTH = 128
LOSS_WEIGHT = 4.0
HEAD_RATE = 4.0
"""Learning rate of what is new, in those of the rest."""


class Expert(nn.Module):  # type: ignore[misc]
    """Marks for each patch, and what they come from. The statistics of its normalizations stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.net = lite2()
        self.mix = nn.Conv2d(LITE2_CHANNELS, WIDTH, 3, padding=1)
        self.out = nn.Conv2d(WIDTH, 1, 1)
        self.eval()
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `(B, 3, H, W)`, normalized as Pixtral's, to logits `(B, h, w)` and features `(B, WIDTH, h, w)`."""
        fine, x = stages(self.net, pixels, LITE2_BLOCKS)
        fine = nn.functional.adaptive_max_pool2d(fine, x.shape[2:])
        features = self.mix(torch.cat([x, fine], 1))
        return self.marks(features), features

    def marks(self, features: Tensor) -> Tensor:
        """Features `(B, WIDTH, h, w)` to logits `(B, h, w)`."""
        return torch.as_tensor(self.out(nn.functional.silu(features))[:, 0])


class ExpertStage:
    """Draws batches and computes the loss."""

    def __init__(self, expert: Expert, screws: Sequence[Example], device: torch.device) -> None:
        self._expert, self._screws, self._device = expert, list(screws), device
        self._donors = [example for example in screws if example.defects]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's loss."""
        picked = [self._screws[int(i)] for i in rng.integers(len(self._screws), size=BATCH)]
        screws = [ballscrew.augment(example, self._donors, rng) for example in picked]
        size = SCREW_SIZES[int(rng.integers(len(SCREW_SIZES)))]
        pixels = normalized(torch.from_numpy(np.stack([resized(s.picture, size) for s in screws])).to(self._device))
        targets = np.stack([cell_map(s, size, ballscrew.TASK.defect_types)[..., 0] for s in screws])
        marks, _ = self._expert(pixels)
        return {"mark": marked(marks.float(), torch.from_numpy(targets).to(self._device)) * LOSS_WEIGHT}
