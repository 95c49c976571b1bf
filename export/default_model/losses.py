"""Losses over the tokens of answers, for packs of commands and for batches of pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.default_model.batches import IGNORE, Batch
from export.default_model.packs import Pack

READ_WEIGHT = 0.5
"""Of what is not an answer, over what is."""
MARK_LAYER = 7
"""The decoder's hidden states after so many layers learn to mark defects."""


def sight(owner: Tensor) -> Tensor:
    """Who sees whom, `(T, T)` bool: everything before that is the tool list's or the command's own."""
    causal = torch.ones(len(owner), len(owner), dtype=torch.bool, device=owner.device).tril()
    return causal & ((owner[None] == -1) | (owner[None] == owner[:, None]))


def pack_loss(model: Any, pack: Pack, device: torch.device) -> Tensor:
    """Weighted cross entropy over the answers' tokens, and a little of it over every token.

    Tool lists and commands teach the shortened decoder to read again: answers alone are a tenth of the tokens.
    """
    ids, positions, weights, owner = (
        torch.from_numpy(a).to(device) for a in (pack.ids, pack.positions, pack.weights, pack.owner)
    )
    hidden = model.model.language_model(
        input_ids=ids[None], position_ids=positions[None], attention_mask=sight(owner)[None, None], use_cache=False
    ).last_hidden_state[0]
    logits = model.lm_head(hidden[:-1]).float()
    loss = nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    answers, within = weights[:-1], owner[1:] == owner[:-1]
    return (loss * answers).sum() / answers.sum() + READ_WEIGHT * loss[within].mean()


def answer_loss(model: Any, batch: Batch, embeds: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weighted cross entropy over the answers' tokens, and the hidden states of the image tokens, `(B, T, hidden)`."""
    language: Any = model.model.language_model
    ids, labels, weights = (torch.from_numpy(a).to(device) for a in (batch.ids, batch.labels, batch.weights))
    hidden = language.embed_tokens(ids)
    pictured = ids == model.config.image_token_index
    hidden = hidden.masked_scatter(pictured.unsqueeze(-1), embeds.to(hidden.dtype))
    # Padding is on the right, where a causal mask already keeps it out of every other token's sight.
    output = language(inputs_embeds=hidden, use_cache=False, output_hidden_states=True)
    chosen = labels != IGNORE
    logits = model.lm_head(output.last_hidden_state[chosen]).float()
    loss = nn.functional.cross_entropy(logits, labels[chosen], reduction="none")
    middle = output.hidden_states[MARK_LAYER]
    marked = middle[pictured].reshape(len(ids), -1, middle.shape[-1])
    return (loss * weights[chosen]).sum() / weights[chosen].sum(), marked
