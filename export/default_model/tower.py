"""Second stage: the vision tower and the projector alone, on dense targets through heads that are thrown away after.

Several things at once: to mark what the expert marks (`expert.py`), in any varied picture, to foretell its features,
to mark the pits that people labelled with the edges of their boxes (from the token and from the picture), to mark and
name the faults of circuit boards from the embeddings of scan and reference, and to know in which row and column a token
stands. A dense signal teaches a tower in an hour what a single verdict token does not teach it in a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.default_model import ballscrew, pcb
from export.default_model.ballscrew import Example
from export.default_model.dense import CELLS, by_token, cell_map, resized, token_boxes, token_centres
from export.default_model.expert import WIDTH, Expert
from export.default_model.losses import boxed, marked
from export.default_model.network import image_embeds, normalized, patch_features
from export.default_model.size import MAX_IMAGE_SIZE, SCREW_SIZES, TOKEN_SIZE
from runtime.chat import Picture

SCREWS = 12
BOARDS_EVERY = 4
BOARD_SIZES = ((192, 6), (192, 6), (288, 3), (384, 2))
"""Pixels along the side, and how many boards; a step draws one, so that the tower learns pictures of every size."""
BOARD_SCALES = (0.8, 1.0)
BOX_WEIGHT, EDGE_WEIGHT, PLACE_WEIGHT = 3.0, 10.0, 0.2
MOST_TOKENS = MAX_IMAGE_SIZE // TOKEN_SIZE
"""Image tokens along a side."""
RECALL_SIDE = 16
"""Of the small grey picture of its own place that an image token must remember."""


def make_heads(vision_hidden: int, hidden: int) -> nn.ModuleDict:
    """The heads, for patch features of `vision_hidden` and image embeddings of `hidden` channels."""
    pair = nn.Sequential(nn.Linear(2 * hidden, 384), nn.SiLU(), nn.Linear(384, CELLS * len(pcb.TYPES) + 4))
    foretell, mark = nn.Linear(vision_hidden, WIDTH), nn.Linear(hidden, CELLS + 4)
    recall, place, edge = nn.Linear(hidden, RECALL_SIDE**2), nn.Linear(hidden, 2 * MOST_TOKENS), nn.Linear(hidden, 4)
    return nn.ModuleDict(
        {"foretell": foretell, "mark": mark, "edge": edge, "compare": pair, "recall": recall, "place": place}
    )


class TowerStage:
    """Draws batches and computes the losses."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        expert: Expert,
        screws: Sequence[Example],
        boards: Sequence[Example],
        device: torch.device,
    ) -> None:
        self._model, self._heads, self._expert, self._device = model, heads, expert, device
        self._screws, self._boards = list(screws), list(boards)
        self._donors = [example for example in self._screws if example.defects]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: of ball screws, and at times of boards."""
        losses = self._screw_losses(rng)
        if rng.integers(BOARDS_EVERY) == 0:
            losses |= self._board_losses(rng)
        return losses

    def _screw_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        picked = [self._screws[int(i)] for i in rng.integers(len(self._screws), size=SCREWS)]
        screws = [ballscrew.augment(example, self._donors, rng) for example in picked]
        size = SCREW_SIZES[int(rng.integers(len(SCREW_SIZES)))]
        pixels = self._pixels([s.picture for s in screws], size)
        with torch.no_grad():
            taught, features = self._expert(pixels)
        patches = patch_features(self._model, pixels)
        embeds = image_embeds(self._model, patches)
        said = self._heads["mark"](embeds).float()
        maps = [cell_map(s, size, ballscrew.TASK.defect_types) for s in screws]
        boxes = self._stacked([token_boxes(s, size) for s in screws])
        edges = (
            (boxes + self._stacked(list(np.tile(token_centres(size), 2)))) * TOKEN_SIZE / self._stacked([*size, *size])
        )
        expected = [by_token(cells[..., None]) for cells in torch.sigmoid(taught.float()).cpu().numpy()]
        foretold = self._heads["foretell"](patches.movedim(1, -1)).float()
        return {
            "foretell": nn.functional.smooth_l1_loss(foretold, features.float().movedim(1, -1)),
            "taught": marked(said[..., :CELLS], self._stacked(expected)) * 2,
            "mark": marked(said[..., :CELLS], self._stacked([by_token(cells) for cells in maps])) * 2,
            "box": boxed(said[..., CELLS:], boxes) * BOX_WEIGHT,
            "edge": boxed(self._heads["edge"](embeds).float(), edges.float()) * EDGE_WEIGHT,
            "place": place_loss(self._heads["place"](embeds).float(), size) * PLACE_WEIGHT,
        }

    def _board_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        side, count = BOARD_SIZES[int(rng.integers(len(BOARD_SIZES)))]
        size = (side, side)
        boards = [self._board(rng, side) for _ in range(count)]
        pixels = self._pixels([*(b.picture for b in boards), *(b.reference for b in boards)], size)
        embeds = image_embeds(self._model, patch_features(self._model, pixels))
        said = self._heads["compare"](torch.cat([embeds[:count], embeds[count:]], -1)).float()
        maps = self._stacked([by_token(cell_map(b, size, pcb.TYPES)) for b in boards])
        return {
            "compare": marked(said[..., :-4], maps) * 8,
            "compare_box": boxed(said[..., -4:], self._stacked([token_boxes(b, size) for b in boards])) * BOX_WEIGHT,
            "recall": self._recalled(embeds, pixels) * 2,
        }

    def _recalled(self, embeds: Tensor, pixels: Tensor) -> Tensor:
        """How far the grey picture of each token's place is from what its embedding says."""
        grey = nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), TOKEN_SIZE // RECALL_SIDE)
        places = nn.functional.unfold(grey, RECALL_SIDE, stride=RECALL_SIDE).transpose(1, 2)
        return nn.functional.smooth_l1_loss(self._heads["recall"](embeds).float(), places, beta=0.1)

    def _board(self, rng: np.random.Generator, side: int) -> Example:
        """A part of a board that comes out `side` pixels wide."""
        example = pcb.augment(self._boards[int(rng.integers(len(self._boards)))], rng)
        size = example.picture.shape[0]
        return pcb.crop(example, min(int(side / rng.uniform(*BOARD_SCALES)), size), rng)

    def _pixels(self, pictures: Sequence[Picture | None], size: tuple[int, int]) -> Tensor:
        stacked = np.stack([resized(picture, size) for picture in pictures if picture is not None])
        return normalized(torch.from_numpy(stacked).to(self._device))

    def _stacked(self, arrays: Sequence[Any]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._device)


def place_loss(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Cross entropy of the column and the row of every image token; logits `(B, T, 2 * MOST_TOKENS)`."""
    columns, rows = (torch.arange(side // TOKEN_SIZE, device=logits.device) for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], -1).expand(len(logits), -1, -1)
    return nn.functional.cross_entropy(logits.reshape(-1, MOST_TOKENS), places.flatten())
