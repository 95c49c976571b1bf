"""First weights. They decide whether a small vision tower learns from a few hundred pictures at all.

Brightness carries nearly all the variance of a patch; texture, which shows a defect, a few thousandths. Under random
filters and an RMS norm it drowns: after 150 steps such a tower still answered at chance. The first layer therefore
starts as whitened principal components of real patches, in which texture weighs as much as brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

RESIDUAL_GAIN = 0.4
"""Output matrices of attention and MLP start smaller, so that a fresh block changes little."""
VARIANCE_FLOOR = 2e-3
"""Added to each component's variance, so that noise is not blown up."""


def initialize(model: Any, pixels: Sequence[npt.NDArray[np.float32]]) -> None:
    """Fan-in scaled random matrices, and whitened components of the given pictures `(3, H, W)` as patch filters."""
    for part in (model.model.vision_tower, model.model.multi_modal_projector):
        fresh_matrices(part)
    with torch.no_grad():
        filters = model.model.vision_tower.patch_conv.weight  # (D, 3, p, p)
        components = whitened_components(pixels, filters.shape[-1], filters.shape[0])
        filters.copy_(torch.from_numpy(components.reshape(tuple(filters.shape))))


def fresh_matrices(modules: torch.nn.Module) -> None:
    """Fan-in scaled random matrices."""
    with torch.no_grad():
        for name, parameter in modules.named_parameters():
            if parameter.ndim < 2:
                continue
            fan_in = parameter[0].numel()
            gain = RESIDUAL_GAIN if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            torch.nn.init.normal_(parameter, 0.0, gain * fan_in**-0.5)


def whitened_components(
    pixels: Sequence[npt.NDArray[np.float32]], patch_size: int, count: int
) -> npt.NDArray[np.float32]:
    """The `count` leading principal components of all patches, scaled to unit output variance, `(count, 3*p*p)`."""
    patches = np.concatenate([_patches(picture, patch_size) for picture in pixels])
    variances, directions = np.linalg.eigh(np.cov(patches.astype(np.float64).T))
    order = np.argsort(variances)[::-1][:count]
    return np.asarray((directions[:, order] / np.sqrt(variances[order] + VARIANCE_FLOOR)).T, dtype=np.float32)


def _patches(picture: npt.NDArray[np.float32], p: int) -> npt.NDArray[np.float32]:
    """`(3, H, W)` to `(N, 3*p*p)`."""
    rows, columns = picture.shape[1] // p, picture.shape[2] // p
    return picture.reshape(3, rows, p, columns, p).transpose(1, 3, 0, 2, 4).reshape(rows * columns, 3 * p * p)
