"""Third stage: the decoder's first layers learn to read the tower's embeddings and to write the answer.

They are new, in front of the layers that come from SmolLM2, and at first write through the word embeddings as if they
were all there is: two layers learn in minutes what twelve do not learn in hours. Beside a picture they must be loud,
since the layers behind them add to what they say (`NOISE` stands for those); without one they should be silent, so
that commands hardly notice them. Then the others are put back behind them, as they are, and the new ones learn to be
heard through them.

Where a box stands, a layer does not find out from the digits alone: it would write the mean of all boxes for a long
time. So one attention head of each is shown where to look while a box is written, and what to see there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.mistral.modeling_mistral import apply_rotary_pos_emb

from export.default_model import ballscrew
from export.default_model.ballscrew import Example
from export.default_model.batches import boxes_written, in_order, inspection_pack
from export.default_model.dense import scale, token_shares
from export.default_model.losses import pack_tensors, sight
from export.default_model.network import image_embeds, patch_features
from export.default_model.pack import IGNORE, Pack
from export.default_model.packs import Packer
from export.default_model.size import READING_LAYERS
from runtime.tokenizer import Tokenizer

SCREWS, SCREWS_PER_PACK = 12, 4
"""In larger packs attention, which is quadratic, costs more than the shared instruction saves."""
NOISE = 0.5
"""In standard deviations of what is there."""
LOOK_WEIGHT, TOLD_WEIGHT, SILENCE_WEIGHT = 0.5, 5.0, 3.0
SILENT_COMMANDS = 4
EDGE_GAIN = 30.0
"""How loud the first layer says an edge at first: in deviations of a word embedding, for the picture's whole side."""
MIDDLE = 0.5


def make_heads(hidden: int) -> nn.ModuleDict:
    """`told`: the box that is being written, from a state of `hidden` channels."""
    return nn.ModuleDict({"told": nn.Linear(hidden, 4)})


def show_edges(layer: Any, edge: nn.Linear, embeds: Tensor, words: Tensor, told: nn.Linear) -> None:
    """Let the first head of a fresh `layer` pass on the box around the image token at which it looks.

    Args:
        edge: reads the box from an image embedding; `told` is made to read it from what the layer says.
        embeds: some image embeddings, `(N, hidden)`.
        words: the word embeddings, `(V, hidden)`.
    """
    attention, scales = layer.self_attn, layer.input_layernorm.weight
    with torch.no_grad():
        size = embeds.square().mean(-1).sqrt().mean()
        normed = layer.input_layernorm(embeds)
        spread = normed.T @ normed / len(normed)
        ridge = torch.eye(len(spread), device=spread.device) * spread.trace() / len(spread) * 1e-3
        one = torch.linalg.solve(spread + ridge, normed.mean(0))  # what is 1 for every image token
        directions, _ = torch.linalg.qr(torch.randn(scales.shape[0], 4, device=scales.device))
        attention.v_proj.weight[:4] = edge.weight * size / scales + (edge.bias - MIDDLE)[:, None] * one
        attention.o_proj.weight[:, : attention.head_dim] = 0
        gain = EDGE_GAIN * words.std() * scales.shape[0] ** 0.5 / 4
        attention.o_proj.weight[:, :4] = directions * gain
        told.weight.copy_(directions.T / gain)
        told.bias.fill_(MIDDLE)


class ReadingStage:
    """Draws batches and computes the losses. Only what the caller trains gets gradients."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        tokenizer: Tokenizer,
        packer: Packer,
        screws: Sequence[Example],
        device: torch.device,
        layers: int = READING_LAYERS,
    ) -> None:
        """`layers` is how many of the decoder's there are for now."""
        self._layers = layers
        self._model, self._heads, self._tokenizer, self._packer, self._device = model, heads, tokenizer, packer, device
        self._donors = [example for example in screws if example.defects]
        by_size: dict[tuple[int, ...], list[Example]] = {}
        for example in screws:
            by_size.setdefault(example.picture.shape, []).append(example)
        self._screws = list(by_size.values())

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: the answers, what the embeddings must hold, and silence beside commands."""
        shares = np.asarray([len(group) for group in self._screws], float)
        group = self._screws[int(rng.choice(len(shares), p=shares / shares.sum()))]
        picked = [group[int(i)] for i in rng.integers(len(group), size=SCREWS)]
        screws = [ballscrew.augment(example, self._donors, rng) for example in picked]
        packs, pixels = [], []
        for at in range(0, SCREWS, SCREWS_PER_PACK):
            part = screws[at : at + SCREWS_PER_PACK]
            regions = [ballscrew.region(s, rng) for s in part]
            pack, (views,) = inspection_pack(part, ballscrew.TASK, self._tokenizer, regions)
            packs.append(pack)
            pixels.append(torch.from_numpy(np.ascontiguousarray(views)).to(self._device))
        height, width = pixels[0].shape[2:]
        size = (int(width), int(height))
        with torch.no_grad():
            embeds = image_embeds(self._model, patch_features(self._model, torch.cat(pixels)))
        answers = []
        for number, (pack, part) in enumerate(zip(packs, embeds.split(SCREWS_PER_PACK), strict=True)):
            answers.append(self._answer_losses(pack, part, screws[number * SCREWS_PER_PACK :], size))
        losses = {name: torch.stack([answer[name] for answer in answers]).mean() for name in answers[0]}
        losses["silence"] = self._said_to(self._packer.draw(rng, SILENT_COMMANDS)) * SILENCE_WEIGHT
        return losses

    def _answer_losses(
        self, pack: Pack, embeds: Tensor, screws: Sequence[Example], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Weighted cross entropy over the answers' tokens, and where the reading layers look for the boxes.

        `screws` begin with those of the pack, and come in pictures of `size`.
        """
        language: Any = self._model.model.language_model
        ids, _, weights, _ = pack_tensors(pack, self._device)
        hidden = language.embed_tokens(ids)
        pictured = (ids == self._model.config.image_token_index).unsqueeze(-1)
        states, hidden = self._read(pack, hidden.masked_scatter(pictured, embeds.to(hidden.dtype)), self._layers)
        chosen = torch.from_numpy(pack.labels != IGNORE).to(self._device)
        said = hidden[chosen].float()
        if self._layers == READING_LAYERS:
            said = said + torch.randn_like(said) * (NOISE * said.detach().std(-1, keepdim=True))
        labels = torch.from_numpy(pack.labels).to(self._device)[chosen]
        loss = nn.functional.cross_entropy(self._model.lm_head(language.norm(said)).float(), labels, reduction="none")
        answer = (loss * weights[chosen]).sum() / weights[chosen].sum()
        return {"answer": answer} | self._box_losses(pack, states, screws, size)

    def _box_losses(
        self, pack: Pack, states: Sequence[Tensor], screws: Sequence[Example], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """How far one head of each reading layer looks elsewhere than at the defect whose box is being written, and
        how far what the first layer made of that is from its edges."""
        written = boxes_written(pack, self._tokenizer)
        rows = np.flatnonzero(written >= 0)
        if not len(rows):
            return {"look": states[0].sum() * 0, "told": states[0].sum() * 0}
        image = pack.ids == self._model.config.image_token_index
        targets = np.zeros((len(rows), len(pack.ids)), np.float32)
        edges = np.zeros((len(rows), 4), np.float32)
        for at, row in enumerate(rows):
            owner = int(pack.owner[row])
            screw = in_order(screws[owner])
            targets[at, image & (pack.owner == owner)] = token_shares(screw, size)[written[row]]
            edges[at] = np.asarray(screw.defects[written[row]].box) * np.tile(scale(screw, size), 2) / (*size, *size)
        looks = torch.stack([self._looked(pack, states[at], at, rows) for at in range(READING_LAYERS)])
        look = -(looks * torch.from_numpy(targets).to(self._device)).sum(-1).mean()
        told = self._heads["told"](states[1][torch.from_numpy(rows).to(self._device)]).float()
        return {
            "look": look * LOOK_WEIGHT,
            "told": nn.functional.l1_loss(told, torch.from_numpy(edges).to(self._device)) * TOLD_WEIGHT,
        }

    def _looked(self, pack: Pack, state: Tensor, number: int, rows: np.ndarray[Any, Any]) -> Tensor:
        """Log of how the first head of a layer, whose input is `state`, shares its attention in `rows`, `(R, T)`."""
        language: Any = self._model.model.language_model
        _, positions, _, owner = pack_tensors(pack, self._device)
        layer, at = language.layers[number], torch.from_numpy(rows).to(self._device)
        attention, normed = layer.self_attn, layer.input_layernorm(state)
        width = attention.head_dim
        query = nn.functional.linear(normed[at], attention.q_proj.weight[:width])
        key = nn.functional.linear(normed, attention.k_proj.weight[:width])
        cosine, sine = language.rotary_emb(state[None], positions[None])
        query, _ = apply_rotary_pos_emb(query[None, None], query[None, None], cosine[:, at], sine[:, at])
        key, _ = apply_rotary_pos_emb(key[None, None], key[None, None], cosine, sine)
        logits = (query[0, 0] @ key[0, 0].T).float() * width**-0.5
        return logits.masked_fill(~sight(owner)[at], -1e4).log_softmax(-1)

    def _said_to(self, pack: Pack) -> Tensor:
        """How much the layers say where there is no picture, against the word embeddings."""
        ids, _, _, _ = pack_tensors(pack, self._device)
        hidden = self._model.model.language_model.embed_tokens(ids)
        change = self._read(pack, hidden, READING_LAYERS)[1].float() - hidden.float()
        return (change.norm(dim=-1) / hidden.float().norm(dim=-1)).log1p().mean()

    def _read(self, pack: Pack, hidden: Tensor, layers: int) -> tuple[list[Tensor], Tensor]:
        """Through the first `layers`: the input of each, and the last one's output, `(T, hidden)`."""
        language: Any = self._model.model.language_model
        _, positions, _, owner = pack_tensors(pack, self._device)
        state = hidden[None]
        rotary = language.rotary_emb(state, positions[None])
        inputs = []
        for layer in language.layers[:layers]:
            inputs.append(state[0])
            state = layer(
                state,
                attention_mask=sight(owner)[None, None],
                position_ids=positions[None],
                position_embeddings=rotary,
            )
        return inputs, torch.as_tensor(state[0])
