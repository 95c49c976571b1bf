"""Second stage: the vision tower and the projector alone, on dense targets through heads that are thrown away after.

Several things at once: to mark what the expert marks (`expert.py`), in any varied picture, to foretell its features,
to mark the pits that people labelled with the edges of their boxes (from the token and from the picture), to mark and
name the faults of circuit boards, whose differences from a reference are tinted, and to know in which row and column a
token stands. A dense signal teaches a tower in an hour what a single verdict token does not teach it in a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lineside.export.default_model.data import ballscrew, pcb
from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.networks.dense import (
    CELLS,
    by_token,
    cell_map,
    resized,
    token_boxes,
    token_centres,
    token_kinds,
    token_shares,
)
from lineside.export.default_model.networks.losses import boxed, marked, missed
from lineside.export.default_model.networks.network import image_embeds, normalized, patch_features
from lineside.export.default_model.networks.size import MAX_IMAGE_SIZE, SCREW_SIZES, TOKEN_SIZE
from lineside.export.default_model.stages.expert import WIDTH, Expert
from lineside.runtime.chat import Picture
from lineside.runtime.inspection.close_ups import CLOSE_SIDE

SCREWS, BOARDS = 12, 12
"""Pictures of a step."""
MOST_TINY = 6
"""Tiny defects pasted into a picture, of which the expert sees some: those and no others are to be marked."""
SEEN_WEIGHT = 15.0
BOX_WEIGHT, EDGE_WEIGHT, PLACE_WEIGHT, NAME_WEIGHT = 3.0, 10.0, 0.2, 2.0
MOST_TOKENS = MAX_IMAGE_SIZE // TOKEN_SIZE
"""Image tokens along a side."""


def make_heads(vision_hidden: int, hidden: int) -> nn.ModuleDict:
    """The heads, for patch features of `vision_hidden` and image embeddings of `hidden` channels."""
    foretell, mark = nn.Linear(vision_hidden, WIDTH), nn.Linear(hidden, CELLS + 4)
    place, edge = nn.Linear(hidden, 2 * MOST_TOKENS), nn.Linear(hidden, 4)
    fault, name = nn.Linear(hidden, CELLS * len(pcb.TYPES) + 4), nn.Linear(hidden, len(pcb.TYPES))
    return nn.ModuleDict(
        {"foretell": foretell, "mark": mark, "edge": edge, "fault": fault, "name": name, "place": place}
    )


class TowerStage:
    """Draws batches and computes the losses. `boards` are what is seen of them close up."""

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
        """One step's losses."""
        return self._screw_losses(rng) | self._board_losses(rng)

    def _screw_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        picked = [self._screws[int(i)] for i in rng.integers(len(self._screws), size=SCREWS)]
        screws = [ballscrew.with_tiny(example, self._donors, rng, MOST_TINY) for example in picked]
        screws = [ballscrew.augment(example, self._donors, rng) for example in screws]
        size = SCREW_SIZES[int(rng.integers(len(SCREW_SIZES)))]
        pixels = self._pixels([s.picture for s in screws], size)
        with torch.no_grad():
            taught, features = self._expert(pixels)
        patches = patch_features(self._model, pixels)
        embeds = image_embeds(self._model, patches)
        said = self._heads["mark"](embeds).float()
        seen = torch.sigmoid(taught.float())
        expected = self._stacked([by_token(cells[..., None]) for cells in seen.cpu().numpy()])
        marks, tiny = (
            self._stacked([by_token(cell_map(s, size, ballscrew.TASK.defect_types)) for s in shown])
            for shown in (screws, [ballscrew.only_tiny(s) for s in screws])
        )
        marks = torch.where(tiny > 0, expected, marks)
        boxes = self._stacked([token_boxes(s, size) for s in screws])
        edges = (
            (boxes + self._stacked(list(np.tile(token_centres(size), 2)))) * TOKEN_SIZE / self._stacked([*size, *size])
        )
        foretold = self._heads["foretell"](patches.movedim(1, -1)).float()
        return {
            "foretell": nn.functional.smooth_l1_loss(foretold, features.float().movedim(1, -1)),
            "seen": missed(self._expert.marks(foretold.movedim(-1, 1)).float(), seen) * SEEN_WEIGHT,
            "taught": missed(said[..., :CELLS], expected) * SEEN_WEIGHT,
            "mark": missed(said[..., :CELLS], marks) * SEEN_WEIGHT,
            "box": boxed(said[..., CELLS:], boxes) * BOX_WEIGHT,
            "edge": boxed(self._heads["edge"](embeds).float(), edges.float()) * EDGE_WEIGHT,
            "place": place_loss(self._heads["place"](embeds).float(), size) * PLACE_WEIGHT,
        }

    def _board_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        size = (CLOSE_SIDE, CLOSE_SIDE)
        picked = [self._boards[int(i)] for i in rng.integers(len(self._boards), size=BOARDS)]
        boards = [pcb.warp(pcb.augment(view, rng), rng) for view in picked]
        embeds = image_embeds(self._model, patch_features(self._model, self._pixels([b.picture for b in boards], size)))
        said = self._heads["fault"](embeds).float()
        maps = self._stacked([by_token(cell_map(b, size, pcb.TYPES)) for b in boards])
        return {
            "fault": marked(said[..., :-4], maps) * 8,
            "fault_box": boxed(said[..., -4:], self._stacked([token_boxes(b, size) for b in boards])) * BOX_WEIGHT,
            "name": self._named(embeds, boards, size) * NAME_WEIGHT,
        }

    def _named(self, embeds: Tensor, boards: Sequence[Example], size: tuple[int, int]) -> Tensor:
        """Cross entropy of the type of the fault, where one covers enough of a token to be looked for there."""
        shares = self._stacked([token_shares(b, size).sum(0) for b in boards])  # (B, T)
        kinds = self._stacked([token_kinds(b, size, pcb.TYPES) for b in boards]).flatten().clamp_min(0)
        told = self._heads["name"](embeds).float().flatten(0, 1)
        losses = nn.functional.cross_entropy(told, kinds, reduction="none").view(shares.shape)
        return (losses * shares).sum() / shares.sum().clamp_min(1)

    def _pixels(self, pictures: Sequence[Picture], size: tuple[int, int]) -> Tensor:
        stacked = np.stack([resized(picture, size) for picture in pictures])
        return normalized(torch.from_numpy(stacked).to(self._device))

    def _stacked(self, arrays: Sequence[Any]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._device)


def place_loss(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Cross entropy of the column and the row of every image token; logits `(B, T, 2 * MOST_TOKENS)`."""
    columns, rows = (torch.arange(side // TOKEN_SIZE, device=logits.device) for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], -1).expand(len(logits), -1, -1)
    return nn.functional.cross_entropy(logits.reshape(-1, MOST_TOKENS), places.flatten())
