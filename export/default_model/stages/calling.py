"""Third stage: the layers that come from SmolLM2 learn to call functions, on packs of tools and commands."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lineside.export.default_model.data.pack import Pack
from lineside.export.default_model.data.packs import Packer
from lineside.export.default_model.networks import decoder
from lineside.export.default_model.networks.losses import pack_tensors

PACKS = 1
READ_WEIGHT, READ_SHARE = 0.1, 0.1
"""Of what is not an answer, over what is; and which share of it is drawn."""


class CallingStage:
    """Draws packs and computes the loss of a decoder without its reading layer."""

    def __init__(self, model: Any, packer: Packer, device: torch.device) -> None:
        self._language, self._packer, self._device = model.model.language_model, packer, device

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: of the answers, and of some other tokens.

        Tool lists and commands teach the shortened decoder to read again: answers alone are a tenth of the tokens.
        """
        packs = [self._packer.draw(rng) for _ in range(PACKS)]
        with torch.autocast(self._device.type, enabled=False):
            weights = [decoder.weights_of(layer) for layer in self._language.layers]
            table = self._language.embed_tokens.weight.to(torch.bfloat16)
            losses = [self._losses(pack, weights, table, rng) for pack in packs]
        answer, read = (torch.stack(values).mean() for values in zip(*losses, strict=True))
        return {"answer": answer, "read": read * READ_WEIGHT}

    def _losses(
        self, pack: Pack, weights: list[decoder.Weights], table: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        ids, positions, answers, owner = pack_tensors(pack, self._device)
        state = decoder.run(self._language, table[ids], positions, owner, weights)[: len(ids)]
        read = (pack.owner[1:] == pack.owner[:-1]) & (rng.random(len(ids) - 1) < READ_SHARE)
        rows = torch.from_numpy(np.flatnonzero(read | (pack.weights[:-1] > 0))).to(self._device)
        logits = functional.linear(decoder.normed(state[rows], self._language.norm.weight), table).float()
        loss = functional.cross_entropy(logits, ids[rows + 1], reduction="none")
        weighted = answers[rows]
        return (loss * weighted).sum() / weighted.sum(), loss[weighted == 0].mean()
