"""The decoder's layers over a pack, in bfloat16, with the rounding of the export: what transformers computes, faster.

On a CPU most of a training step would go into reading and writing large intermediate results. Here branches attend to
the beginning and to themselves, and not, masked, to each other (`attending.py`), the rest is fused by the compiler
where there is one, and matrices that are rounded in training are rounded once a step.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lineside.export.default_model.networks.attending import Attention
from lineside.export.quantize.blocks import BLOCK_SIZE

STEP = 128
"""Lengths are rounded up to this, as in `attending.py`."""
LEAST_SCALE = 1e-9
Weights = tuple[Tensor, ...]


def weights_of(layer: Any) -> Weights:
    """What `run` wants of a layer; matrices in bfloat16, rounded where the layer feels rounding."""
    a, m = layer.self_attn, layer.mlp
    matrices = (a.q_proj, a.k_proj, a.v_proj, a.o_proj, m.gate_proj, m.up_proj, m.down_proj)
    norms = (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
    return (*norms, *(matrix.weight.to(torch.bfloat16) for matrix in matrices))


def run(language: Any, hidden: Tensor, positions: Tensor, owner: Tensor, weights: Sequence[Weights]) -> Tensor:
    """States behind the layers of `weights`, in bfloat16; inputs of matrices are rounded to 8 bits.

    From `hidden` `(T, hidden)`; what comes back is filled up to a multiple of `STEP` rows.
    """
    missing = -len(hidden) % STEP
    hidden, positions = functional.pad(hidden, (0, 0, 0, missing)), functional.pad(positions, (0, missing))
    cosine, sine = (turn[0].to(torch.bfloat16) for turn in language.rotary_emb(hidden, positions[None]))
    attention = Attention(owner)
    state = hidden.to(torch.bfloat16)
    for each in weights:
        norm, after, query, key, value, *others = each
        mixed = attention(*_before(state, cosine, sine, norm, query, key, value))
        state = _behind(state, mixed, after, *others)
    return state


def normed(x: Tensor, weight: Tensor) -> Tensor:
    """RMS norm over the last axis, to bfloat16."""
    x = x.float()
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight).to(torch.bfloat16)


def _rounded(x: Tensor) -> Tensor:
    """To blocks of 8 bits, as `MatMulNBits` does on a CPU; gradients pass straight through."""
    whole = x.detach().float().unflatten(-1, (-1, BLOCK_SIZE))
    scale = whole.abs().amax(-1, keepdim=True).clamp_min(LEAST_SCALE) / 127
    rounded = ((whole / scale).round() * scale).flatten(-2).to(torch.bfloat16)
    return x + (rounded - x).detach()


def _turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    low, high = x.chunk(2, -1)
    return x * cosine + torch.cat([-high, low], -1) * sine


def _before(x: Tensor, cosine: Tensor, sine: Tensor, norm: Tensor, *matrices: Tensor) -> tuple[Tensor, ...]:
    """Query, key and value, `(heads, T, width)`."""
    h, width = _rounded(normed(x, norm)), cosine.shape[-1]
    query, key, value = (functional.linear(h, m).unflatten(-1, (-1, width)).transpose(0, 1) for m in matrices)
    return _turned(query, cosine, sine) * width**-0.5, _turned(key, cosine, sine), value


def _behind(x: Tensor, mixed: Tensor, norm: Tensor, o: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    x = x + functional.linear(_rounded(mixed), o)
    h = _rounded(normed(x, norm))
    return x + functional.linear(_rounded(functional.silu(functional.linear(h, gate)) * functional.linear(h, up)), down)


if shutil.which("g++"):
    _before, _behind = (torch.compile(part, dynamic=True) for part in (_before, _behind))
