"""Attention over a pack: the beginning sees itself, a branch sees the beginning and itself.

One mask over all tokens would compute every branch against every other, and throw that away: most of the work.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lineside.export.default_model.data.pack import SHARED

HIDDEN_FROM = -1e4
STEP, ROOM = 64, 16
"""Lengths are rounded up to these: oneDNN keeps kernels and memory for every length that it has seen."""


class Attention:
    """For one pack, whose tokens have `owner` `(T,)`: a beginning of at least one, then branch by branch."""

    def __init__(self, owner: Tensor) -> None:
        first = int((owner == SHARED).sum())
        branches, sizes = torch.unique_consecutive(owner[first:], return_counts=True)
        count, room = _up(len(branches) + 1, 4), _up(int(sizes.max()) if len(sizes) else 1, ROOM)
        starts = first + sizes.cumsum(0) - sizes
        number = torch.repeat_interleave(torch.arange(len(branches), device=owner.device), sizes)
        rows = torch.arange(first, len(owner), device=owner.device)
        missing = _up(len(rows), STEP) - len(rows)
        self._first, self._length, self._room = first, len(owner), room
        self._rows = functional.pad(rows, (0, missing), value=len(owner) - 1)
        self._slots = functional.pad(number * room + rows - starts[number], (0, missing), value=count * room - 1)
        self._places = torch.zeros(count, room, dtype=torch.long, device=owner.device)
        self._places.view(-1)[self._slots[: len(rows)]] = rows
        wide = _up(first, STEP)
        shown = torch.arange(wide, device=owner.device) < first
        self._early = _bias(torch.ones(wide, wide, dtype=torch.bool, device=owner.device).tril() & shown)
        self._before = _bias(shown)
        self._own = _bias(torch.ones(room, room, dtype=torch.bool, device=owner.device).tril())

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """`(heads, S, width)`, of which key and value may have fewer heads and S be larger than T, to
        `(S, heads * width)`."""
        heads, total, _ = query.shape
        missing = max(len(self._early) - total, 0)
        early = [functional.pad(x, (0, 0, 0, missing))[:, : len(self._early)] for x in (query, key, value)]
        begun = self._beginning(*early)[:, : self._first]
        parts = [begun]
        if self._length > self._first:
            parts.append(self._branches(query, key, value, early)[:, : self._length - self._first])
        mixed = torch.cat([*parts, query.new_zeros(heads, total - self._length, query.shape[2])], 1)
        return mixed.transpose(0, 1).flatten(1)

    def _beginning(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        group = len(query) // len(key)
        bias = self._early.repeat(group, 1).expand(len(key), -1, -1)
        shares = torch.baddbmm(bias, query.reshape(len(key), -1, query.shape[2]), key.transpose(1, 2)).softmax(-1)
        return torch.bmm(shares, value).view(query.shape)

    def _branches(self, query: Tensor, key: Tensor, value: Tensor, early: list[Tensor]) -> Tensor:
        """Of all branches one behind the other, `(heads, rows, width)`."""
        heads, _, width = query.shape
        some, group, (count, room) = len(key), heads // len(key), self._places.shape
        asking = query[:, self._rows]
        flat = asking.reshape(some, -1, width)
        far = torch.baddbmm(self._before.expand(some, flat.shape[1], -1), flat, early[1].transpose(1, 2))
        owned = [x[:, self._places].flatten(0, 1) for x in (query, key, value)]  # (heads * count, room, width)
        owned[1:] = [x.view(some, count, room, width).repeat_interleave(group, 0).flatten(0, 1) for x in owned[1:]]
        near = torch.baddbmm(self._own.expand(heads * count, -1, -1), owned[0], owned[1].transpose(1, 2))
        near = near.view(heads, count * room, room)[:, self._slots]
        shares = torch.cat([far.view(heads, -1, far.shape[2]), near], -1).softmax(-1)
        far, near = shares.split([far.shape[2], room], -1)
        mixed = torch.bmm(far.reshape(some, -1, far.shape[2]), early[2]).view(heads, -1, width)
        scattered = torch.zeros(heads, count * room, room, dtype=near.dtype, device=near.device)
        scattered = scattered.index_copy(1, self._slots, near)
        own = torch.bmm(scattered.view(heads * count, room, room), owned[2]).view(heads, count * room, width)
        return mixed + own[:, self._slots]


def _bias(seen: Tensor) -> Tensor:
    return torch.zeros(seen.shape, dtype=torch.bfloat16, device=seen.device).masked_fill(~seen, HIDDEN_FROM)


def _up(length: int, step: int) -> int:
    return length + -length % step
