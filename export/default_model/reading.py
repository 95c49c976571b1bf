"""Fourth stage: the decoder's last layer learns to read the pictures and to write the answer.

It is new, behind the layers that come from SmolLM2 and stay as they are: what it says is not garbled by others, nothing
has to be propagated back through them, and commands keep their answers as long as it says nothing there (`quiet`).

It begins with heads that point at defects (`pointer.py`) and with practice in writing numbers (`dictation.py`). What
is left to learn is the verdict, where to look, and to write what is told; part of the time from the true edges, so that
it does not wait for the pointer to become steady, and from dictation of made-up ones: a few hundred pictures have so
few boxes that their numbers would be learnt by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.mistral.modeling_mistral import apply_rotary_pos_emb

from export.default_model.batches import VERDICT_WEIGHT
from export.default_model.losses import sight
from export.default_model.pointer import EDGE_HEADS
from export.default_model.states import Sample

SCREW_PACKS, BOARD_PACKS, DICTATIONS = 2, 2, 1
"""Of a step, beside one pack of commands."""
LOOK_WEIGHT, TOLD_WEIGHT, QUIET_WEIGHT = 0.5, 5.0, 2.0
CAUTION = 0.7
"""By how many nats a verdict of `fail` has to be the likelier one in training, of screws: pits that a new camera shows
fainter than those seen here should not pass."""
TRUE_ODDS, TRUE_NOISE = 0.6, 0.003
"""Of writing from the true edges, and how far from the truth those are, in sides of the picture."""


class ReadingStage:
    """Draws samples and computes the losses. `samples` are with pictures and their boxes, `boards` with references,
    too, `dictations` with made-up boxes, `commands` without pictures; `fail` is the token that says so."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        samples: Sequence[Sample],
        boards: Sequence[Sample],
        dictations: Sequence[Sample],
        commands: Sequence[Sample],
        fail: int,
        device: torch.device,
    ) -> None:
        self._language, self._head, self._heads = model.model.language_model, model.lm_head, heads
        self._samples, self._boards, self._dictations, self._commands = samples, boards, dictations, commands
        self._fail, self._device = fail, device

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: the answers, where and what the pointer points at, and silence beside commands."""
        picked = [_any(self._samples, rng) for _ in range(SCREW_PACKS)]
        with nn.utils.parametrize.cached():
            answers = [self._answer_losses(sample, rng.random() < TRUE_ODDS, CAUTION) for sample in picked]
            losses = {name: torch.stack([answer[name] for answer in answers]).mean() for name in answers[0]}
            drawn = [_any(self._boards, rng) for _ in range(BOARD_PACKS)]
            compared = [self._answer_losses(sample, rng.random() < TRUE_ODDS) for sample in drawn]
            losses["boards"] = torch.stack([torch.stack(list(each.values())).sum() for each in compared]).mean()
            dictated = [self._dictated(_any(self._dictations, rng)) for _ in range(DICTATIONS)]
            losses["dictated"] = torch.stack(dictated).mean()
            losses["quiet"] = self._changed(_any(self._commands, rng)) * QUIET_WEIGHT
        return losses

    def _answer_losses(self, sample: Sample, from_truth: bool, caution: float = 0.0) -> dict[str, Tensor]:
        """Weighted cross entropy of the answers' tokens; where the pointer looks; and what it says of the edges."""
        logits, looked, told = self._answer(sample, from_truth)
        labels, weights = sample.labels.to(self._device), sample.weights.to(self._device)
        doubted = nn.functional.one_hot(torch.tensor(self._fail), logits.shape[1]).to(logits) * caution
        logits = logits - (weights == VERDICT_WEIGHT).unsqueeze(1) * doubted.to(self._device)
        loss = nn.functional.cross_entropy(logits, labels, reduction="none")
        answer = (loss * weights).sum() / weights.sum()
        if not len(sample.boxes):
            return {"answer": answer, "look": looked.sum() * 0, "told": told.sum() * 0}
        boxes, shares = sample.boxes.to(self._device), sample.shares.to(self._device).float()
        pointing = looked[self._pointers(sample), boxes]
        return {
            "answer": answer,
            "look": -(pointing * shares).sum(-1).mean() * LOOK_WEIGHT,
            "told": nn.functional.l1_loss(told[boxes], self._written(sample)) * TOLD_WEIGHT,
        }

    def _dictated(self, sample: Sample) -> Tensor:
        """Weighted cross entropy of the boxes' tokens, written from the true edges."""
        logits, boxes = self._answer(sample, from_truth=True)[0], sample.boxes.to(self._device)
        labels, weights = sample.labels.to(self._device)[boxes], sample.weights.to(self._device)[boxes]
        return (nn.functional.cross_entropy(logits[boxes], labels, reduction="none") * weights).sum() / weights.sum()

    def _changed(self, sample: Sample) -> Tensor:
        """How far what the decoder says there is from what it would say without the last layer, in nats a token."""
        with torch.no_grad():
            states = sample.states[sample.rows].to(self._device).float()
            before = self._head(self._language.norm(states)).float().log_softmax(-1)
        after = self._answer(sample)[0].log_softmax(-1)
        return (before.exp() * (before - after)).sum(-1).mean()

    def _answer(self, sample: Sample, from_truth: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `(R, V)`, log of how the heads share their attention `(heads, R, T)`, and the edges told `(R,)`.

        With `from_truth` the answer is written from the true edges instead of those that are told.
        """
        state, looked, told = self.attend(sample, from_truth)
        layer = self._language.layers[-1]
        state = state + layer.mlp(layer.post_attention_layernorm(state))
        return self._head(self._language.norm(state)).float(), looked, told

    def attend(self, sample: Sample, from_truth: bool, noise: float = TRUE_NOISE) -> tuple[Tensor, Tensor, Tensor]:
        """As `_answer`, but states `(R, hidden)` in front of the MLP instead of logits.

        Only the rows are computed: no layer comes behind that would look at the others.
        """
        layer = self._language.layers[-1]
        attention, rows = layer.self_attn, sample.rows.to(self._device)
        states, positions = sample.states.to(self._device).float(), sample.positions.to(self._device)[None]
        normed = layer.input_layernorm(states)
        query, key, value = (
            matrix(given).unflatten(-1, (-1, attention.head_dim)).transpose(0, 1)[None]
            for matrix, given in (
                (attention.q_proj, normed[rows]), (attention.k_proj, normed), (attention.v_proj, normed)
            )
        )  # fmt: skip
        cosine, sine = self._language.rotary_emb(states[None], positions)
        query, _ = apply_rotary_pos_emb(query, query, cosine[:, rows], sine[:, rows])
        key, _ = apply_rotary_pos_emb(key, key, cosine, sine)
        group = attention.num_key_value_groups
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        scores = (query @ key.transpose(-1, -2)).float() * attention.scaling
        seen = sight(sample.owner.to(self._device))[rows]
        looked = scores.masked_fill(~seen, -1e4).log_softmax(-1)  # (1, heads, R, T)
        mixed = (looked.exp().to(value.dtype) @ value).transpose(1, 2).flatten(2)[0]
        added = attention.o_proj(mixed)
        told = self._heads["told"](added).float()[:, 0]
        state = states[rows] + added
        if from_truth and len(sample.boxes):
            boxes, edges = sample.boxes.to(self._device), self._written(sample)
            missing = edges + torch.randn_like(edges) * noise - told[boxes]
            state = state.index_add(0, boxes, self._heads["tell"](missing[:, None]).to(state.dtype))
        return state, looked[0], told

    def _written(self, sample: Sample) -> Tensor:
        """The true edge that each row of a box writes, `(B,)`."""
        return sample.edges.gather(1, sample.sides[:, None])[:, 0].to(self._device)

    def _pointers(self, sample: Sample) -> Tensor:
        """The head that should tell it, `(B,)`."""
        return torch.tensor(EDGE_HEADS)[sample.sides].to(self._device)


def _any(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    return samples[int(rng.integers(len(samples)))]
