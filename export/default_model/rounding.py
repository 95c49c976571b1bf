"""Quantization-aware training: matrices are rounded to INT4 on the way forward, as the export will round them.

Each block of 32 weights keeps the scale that `export.quantize` finds for it at the beginning; gradients pass through.
In the end the weights become what they were rounded to, which the export then finds again without an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from export.quantize import BLOCK_SIZE, quantize_int4

LOWEST, HIGHEST = -8, 7


class Int4(nn.Module):  # type: ignore[misc]
    """Rounds a matrix `(N, K)` to its blocks' grid."""

    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scales = quantize_int4(weight.detach().float().cpu().numpy())[1]
        self.register_buffer("scales", torch.from_numpy(np.ascontiguousarray(scales)).to(weight.device).unsqueeze(-1))

    def forward(self, weight: Tensor) -> Tensor:
        return _Round.apply(weight, self.scales)


class _Round(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scales: Tensor) -> Tensor:  # noqa: ARG004
        blocks = weight.view(weight.shape[0], -1, BLOCK_SIZE)
        return torch.round(blocks / scales).clamp_(LOWEST, HIGHEST).mul_(scales).view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradients[0], None


def round_matrices(decoder: nn.Module) -> None:
    """From now on the decoder's linear layers compute with rounded weights."""
    for module in list(decoder.modules()):
        if isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", Int4(module.weight))


def keep_rounded(decoder: nn.Module) -> None:
    """Make the rounded weights the weights."""
    for module in list(decoder.modules()):
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
