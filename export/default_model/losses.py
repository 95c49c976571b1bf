"""Losses over the tokens of answers, for packs of commands and for batches of pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.default_model.pack import IGNORE, SHARED, Pack

READ_WEIGHT = 0.5
"""Of what is not an answer, over what is."""
MARK_LAYER = 7
"""The decoder's hidden states after so many layers learn to mark defects."""


def sight(owner: Tensor) -> Tensor:
    """Who sees whom, `(T, T)` bool: everything before that is the tool list's or the command's own."""
    causal = torch.ones(len(owner), len(owner), dtype=torch.bool, device=owner.device).tril()
    return causal & ((owner[None] == SHARED) | (owner[None] == owner[:, None]))


def pack_loss(model: Any, pack: Pack, device: torch.device) -> Tensor:
    """Weighted cross entropy over the answers' tokens, and a little of it over every token.

    Tool lists and commands teach the shortened decoder to read again: answers alone are a tenth of the tokens.
    """
    ids, positions, weights, owner = _tensors(pack, device)
    hidden = model.model.language_model(
        input_ids=ids[None], position_ids=positions[None], attention_mask=sight(owner)[None, None], use_cache=False
    ).last_hidden_state[0]
    logits = model.lm_head(hidden[:-1]).float()
    loss = nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    answers, within = weights[:-1], owner[1:] == owner[:-1]
    return (loss * answers).sum() / answers.sum() + READ_WEIGHT * loss[within].mean()


def answer_loss(model: Any, pack: Pack, embeds: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weighted cross entropy over the answers' tokens, and the hidden states of the image tokens, `(B, T, hidden)`.

    `embeds` are the image tokens' embeddings, `(B, T, hidden)`.
    """
    language: Any = model.model.language_model
    ids, positions, weights, owner = _tensors(pack, device)
    hidden = language.embed_tokens(ids)
    pictured = ids == model.config.image_token_index
    hidden = hidden.masked_scatter(pictured.unsqueeze(-1), embeds.to(hidden.dtype))
    output = language(
        inputs_embeds=hidden[None],
        position_ids=positions[None],
        attention_mask=sight(owner)[None, None],
        use_cache=False,
        output_hidden_states=True,
    )
    chosen = torch.from_numpy(pack.labels != IGNORE).to(device)
    labels, weights = torch.from_numpy(pack.labels).to(device)[chosen], weights[chosen]
    logits = model.lm_head(output.last_hidden_state[0, chosen]).float()
    loss = nn.functional.cross_entropy(logits, labels, reduction="none")
    marked = output.hidden_states[MARK_LAYER][0, pictured].reshape(embeds.shape)
    return (loss * weights).sum() / weights.sum(), marked


def _tensors(pack: Pack, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids, positions, weights, owner = (
        torch.from_numpy(a).to(device) for a in (pack.ids, pack.positions, pack.weights, pack.owner)
    )
    return ids, positions, weights, owner
