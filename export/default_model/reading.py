"""Last stages: the decoder's first layers learn to read the tower's embeddings and to write the answer.

They are new, in front of the layers that come from SmolLM2, and at first write through the word embeddings as if they
were all there is: two layers learn in minutes what twelve do not learn in hours. Beside a picture they must be loud,
since the layers behind them add to what they say (`NOISE` stands for those at first); without one they must be silent,
so that commands do not notice them. Then the others are put back behind them, as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.default_model import ballscrew
from export.default_model.ballscrew import Example
from export.default_model.batches import inspection_pack
from export.default_model.dense import CELLS, by_token, cell_map, token_boxes
from export.default_model.losses import boxed, marked, pack_tensors, sight
from export.default_model.network import image_embeds, patch_features
from export.default_model.pack import IGNORE, Pack
from export.default_model.packs import Packer
from export.default_model.size import READING_LAYERS, TOKEN_SIZE
from runtime.tokenizer import Tokenizer

SCREWS, SCREWS_PER_PACK = 12, 4
"""In larger packs attention, which is quadratic, costs more than the shared instruction saves."""
TOWER_RATE = 0.3
NOISE = 0.5
"""Of what the later layers add, in standard deviations of what is there."""
MARK_WEIGHT, BOX_WEIGHT, EDGE_WEIGHT, SILENCE_WEIGHT = 2.0, 2.0, 10.0, 3.0
SILENCE_EVERY = 3


def make_heads(hidden: int) -> nn.ModuleDict:
    """For image embeddings of `hidden` channels: patches, the box around the token, the box in the picture."""
    return nn.ModuleDict({"mark": nn.Linear(hidden, CELLS + 4), "edge": nn.Linear(hidden, 4)})


class ReadingStage:
    """Draws batches and computes the losses. Only what the caller trains gets gradients."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        tokenizer: Tokenizer,
        packer: Packer,
        screws: Sequence[Example],
        layers: int,
        device: torch.device,
    ) -> None:
        """`layers` is how many of the decoder's there are for now."""
        self._layers, self._whole = layers, layers == model.config.text_config.num_hidden_layers
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
        embeds = image_embeds(self._model, patch_features(self._model, torch.cat(pixels)))
        answers = [
            self._answer_loss(pack, part) for pack, part in zip(packs, embeds.split(SCREWS_PER_PACK), strict=True)
        ]
        losses = {"answer": torch.stack(answers).mean()}
        height, width = pixels[0].shape[2:]
        losses |= self._embedded(screws, embeds, (int(width), int(height)))
        if rng.integers(SILENCE_EVERY) == 0:
            losses["silence"] = self._said_to(self._packer.draw(rng)) * SILENCE_WEIGHT
        return losses

    def _embedded(self, screws: Sequence[Example], embeds: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        said = self._heads["mark"](embeds).float()
        maps = np.stack([by_token(cell_map(s, size, ballscrew.TASK.defect_types)) for s in screws])
        boxes = torch.from_numpy(np.stack([token_boxes(s, size) for s in screws])).to(self._device)
        edges = (boxes * TOKEN_SIZE + centres(size, self._device).repeat(1, 2)) / torch.tensor([*size, *size])
        return {
            "mark": marked(said[..., :CELLS], torch.from_numpy(maps).to(self._device)) * MARK_WEIGHT,
            "box": boxed(said[..., CELLS:], boxes) * BOX_WEIGHT,
            "edge": boxed(self._heads["edge"](embeds).float(), edges) * EDGE_WEIGHT,
        }

    def _answer_loss(self, pack: Pack, embeds: Tensor) -> Tensor:
        """Weighted cross entropy over the answers' tokens."""
        language: Any = self._model.model.language_model
        ids, _, weights, _ = pack_tensors(pack, self._device)
        hidden = language.embed_tokens(ids)
        pictured = (ids == self._model.config.image_token_index).unsqueeze(-1)
        hidden = self._read(pack, hidden.masked_scatter(pictured, embeds.to(hidden.dtype)), self._layers)
        chosen = torch.from_numpy(pack.labels != IGNORE).to(self._device)
        said = hidden[chosen].float()
        if not self._whole:
            said = said + torch.randn_like(said) * (NOISE * said.detach().std(-1, keepdim=True))
        labels = torch.from_numpy(pack.labels).to(self._device)[chosen]
        loss = nn.functional.cross_entropy(self._model.lm_head(language.norm(said)).float(), labels, reduction="none")
        return (loss * weights[chosen]).sum() / weights[chosen].sum()

    def _said_to(self, pack: Pack) -> Tensor:
        """How much the layers say where there is no picture, against the word embeddings."""
        ids, _, _, _ = pack_tensors(pack, self._device)
        hidden = self._model.model.language_model.embed_tokens(ids)
        change = self._read(pack, hidden, READING_LAYERS).float() - hidden.float()
        return (change.square().mean() / hidden.float().square().mean()).sqrt()

    def _read(self, pack: Pack, hidden: Tensor, layers: int) -> Tensor:
        """Through the first `layers`, `(T, hidden)`."""
        language: Any = self._model.model.language_model
        _, positions, _, owner = pack_tensors(pack, self._device)
        state = hidden[None]
        rotary = language.rotary_emb(state, positions[None])
        for layer in language.layers[:layers]:
            state = layer(
                state,
                attention_mask=sight(owner)[None, None],
                position_ids=positions[None],
                position_embeddings=rotary,
            )
        return torch.as_tensor(state[0])


def centres(size: tuple[int, int], device: torch.device) -> Tensor:
    """Centre of every image token of a picture of `size` in pixels, x and y, `(T, 2)`."""
    columns, rows = (torch.arange(side // TOKEN_SIZE, device=device) for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return (torch.stack([x.flatten(), y.flatten()], -1) + 0.5) * TOKEN_SIZE
