"""Practice before the fourth stage: the last layer's MLP learns to write a number that it is told, digit by digit.

Nothing has to be looked at for that, so a step costs a tenth of one of the stage's own. What the MLP says where no
number is written stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from export.default_model.reading import TRUE_NOISE, ReadingStage
from export.default_model.states import Sample

BATCH = 512
"""Tokens of a step that write numbers, and as many others."""
KEEP_WEIGHT = 20.0
"""Of changes elsewhere, in squared lengths of a state."""


class DictationStage:
    """Draws tokens and computes the loss of what `model` says of them, behind the attention of its last layer as
    `reading` computes it: those of `dictations` that write boxes, and those of `others` that do not."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        reading: ReadingStage,
        dictations: Sequence[Sample],
        others: Sequence[Sample],
    ) -> None:
        language = model.model.language_model
        self._layer, self._norm, self._tell = language.layers[-1], language.norm, heads["tell"]
        with torch.no_grad():
            told = [_told(reading, sample) for sample in track(dictations, description="dictations")]
            self._states, labels, self._weights = (torch.cat(parts) for parts in zip(*told, strict=True))
            said, self._labels = torch.unique(labels, return_inverse=True)
            self._words = model.lm_head.weight[said]
            self._others = torch.cat([_elsewhere(reading, sample) for sample in others])
            self._kept = self._added(self._others)
            self._size = self._others.square().mean()

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: of the numbers in nats a token, and of changes elsewhere."""
        rows, kept = (
            torch.from_numpy(rng.integers(len(states), size=BATCH)).to(states.device)
            for states in (self._states, self._others)
        )
        noise = torch.from_numpy(rng.normal(0, TRUE_NOISE, (BATCH, 1))).to(self._states)
        state = self._states[rows] + self._tell(noise)
        logits = nn.functional.linear(self._norm(state + self._added(state)), self._words).float()
        losses, weights = nn.functional.cross_entropy(logits, self._labels[rows], reduction="none"), self._weights[rows]
        changed = (self._added(self._others[kept]) - self._kept[kept]).square().mean() / self._size
        return {"dictated": (losses * weights).sum() / weights.sum(), "changed": changed * KEEP_WEIGHT}

    def _added(self, state: Tensor) -> Tensor:
        added: Tensor = self._layer.mlp(self._layer.post_attention_layernorm(state))
        return added


def _told(reading: ReadingStage, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """States, labels and weights of the tokens that write a box; the true edge is told."""
    state, _, _ = reading.attend(sample, from_truth=True, noise=0.0)
    labels, weights = (each.to(state.device)[sample.boxes] for each in (sample.labels, sample.weights))
    return state[sample.boxes], labels, weights


def _elsewhere(reading: ReadingStage, sample: Sample) -> Tensor:
    """States of the tokens that do not."""
    other = torch.ones(len(sample.rows), dtype=torch.bool)
    other[sample.boxes] = False
    return reading.attend(sample, from_truth=False)[0][other]
