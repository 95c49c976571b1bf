"""The export's rounding, felt in training: a layer that was not trained for it does not survive it.

Weights become blocks of four bits and the inputs of matrices blocks of eight, as on a CPU; gradients pass straight
through. Behind a tower and layers that were rounded before, only the last layer has to bear it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lineside.export.quantize.blocks import BLOCK_SIZE, INT4_CANDIDATES, dequantize, quantize_int4, quantize_int8

REFRESH = 40
"""Passes between searches of the scales."""
LEAST_SCALE = 1e-9


class Rounded(nn.Module):  # type: ignore[misc]
    """Parametrization of a matrix `(N, K)`: as `quantize_int4` will store it."""

    def __init__(self) -> None:
        super().__init__()
        self._scale: Tensor | None = None
        self._passes = 0

    def forward(self, weight: Tensor) -> Tensor:
        blocks = weight.detach().reshape(-1, BLOCK_SIZE)
        if self._scale is None or self._passes % REFRESH == 0:
            self._scale = _best_scale(blocks)
        self._passes += 1
        rounded = (blocks / self._scale).round().clamp(-8, 7) * self._scale
        return weight + (rounded.view_as(weight) - weight).detach()

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def feel(layer: nn.Module) -> None:
    """Round the weights and inputs of all matrices of `layer` from now on, until `settle`."""
    for matrix in _matrices(layer):
        parametrize.register_parametrization(matrix, "weight", Rounded())
        matrix.register_forward_pre_hook(_round_input)


def settle(layer: nn.Module) -> None:
    """Leave the weights rounded, and the inputs as they are."""
    for matrix in _matrices(layer):
        parametrize.remove_parametrizations(matrix, "weight")
        matrix._forward_pre_hooks.clear()


def round_in_place(model: Any, layers: int) -> None:
    """Give the tower, the embeddings and the decoder's first `layers` the values that the export will store."""
    language = model.model.language_model
    with torch.no_grad():
        _store(language.embed_tokens.parameters(), quantize_int8)
        _store(language.layers[:layers].parameters(), quantize_int4)
        for part in (model.model.vision_tower, model.model.multi_modal_projector):
            _store(part.parameters(), quantize_int8)


def stored4(weight: Tensor) -> Tensor:
    """A matrix as the export will store it."""
    return torch.from_numpy(dequantize(*quantize_int4(weight.detach().cpu().numpy()))).to(weight.device)


def _store(parameters: Iterable[nn.Parameter], quantize: Any) -> None:
    for parameter in parameters:
        if parameter.ndim == 2 and parameter.shape[1] % BLOCK_SIZE == 0:
            parameter.copy_(torch.from_numpy(dequantize(*quantize(parameter.detach().cpu().numpy()))))


def _matrices(layer: nn.Module) -> list[nn.Linear]:
    return [module for module in layer.modules() if isinstance(module, nn.Linear)]


def _best_scale(blocks: Tensor) -> Tensor:
    """Of the candidates the one with the least squared error, `(B, 1)`."""
    largest = blocks.abs().amax(1, keepdim=True).clamp_min(LEAST_SCALE)
    best, scale = torch.full_like(largest, torch.inf), largest
    for level in INT4_CANDIDATES.tolist():
        candidate = largest / level
        error = ((blocks / candidate).round().clamp(-8, 7) * candidate - blocks).square().sum(1, keepdim=True)
        scale, best = torch.where(error < best, candidate, scale), torch.minimum(error, best)
    return scale


def _round_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    whole = inputs[0].detach()
    blocks = whole.reshape(*whole.shape[:-1], -1, BLOCK_SIZE)
    scale = blocks.abs().amax(-1, keepdim=True).clamp_min(LEAST_SCALE) / 127
    rounded = ((blocks / scale).round() * scale).view_as(whole)
    return (inputs[0] + (rounded - whole), *inputs[1:])
