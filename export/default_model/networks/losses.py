"""Losses over the tokens of answers, for packs of commands and for batches of pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lineside.export.default_model.data.pack import SHARED, Pack

MARK_WEIGHT = 4.0


def marked(marks: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of marks; the few cells with a defect weigh more. Targets may lie between 0 and 1."""
    weight = torch.tensor(MARK_WEIGHT, device=marks.device)
    return nn.functional.binary_cross_entropy_with_logits(marks, target, pos_weight=weight)


def missed(marks: Tensor, target: Tensor) -> Tensor:
    """The same, every mark weighted by how far off it is: of hundreds of cells one shows a tiny defect."""
    weight = 1 + (MARK_WEIGHT - 1) * target
    losses = nn.functional.binary_cross_entropy_with_logits(marks, target, reduction="none")
    return (losses * weight * (torch.sigmoid(marks) - target).detach().abs()).mean()


def boxed(boxes: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the edges, where there is a defect; `(B, T, 4)` both, NaN for none."""
    known = ~torch.isnan(target[..., 0])
    if not bool(known.any()):
        return boxes.sum() * 0
    return nn.functional.l1_loss(boxes[known], target[known])


def sight(owner: Tensor) -> Tensor:
    """Who sees whom, `(T, T)` bool: everything before that is the tool list's or the command's own."""
    causal = torch.ones(len(owner), len(owner), dtype=torch.bool, device=owner.device).tril()
    return causal & ((owner[None] == SHARED) | (owner[None] == owner[:, None]))


def pack_tensors(pack: Pack, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ids, positions, weights and owners."""
    ids, positions, weights, owner = (
        torch.from_numpy(a).to(device) for a in (pack.ids, pack.positions, pack.weights, pack.owner)
    )
    return ids, positions, weights, owner
