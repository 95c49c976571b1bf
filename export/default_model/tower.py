"""Second stage: the vision tower and the projector alone, on dense targets through heads that are thrown away after.

Several things at once: to mark what the expert marks (`expert.py`), in any varied picture, to foretell its features,
to mark the pits that people labelled with the edges of their boxes (from the token and from the picture), to mark and
name the faults of circuit boards from the embeddings of scan and reference, and to know in which row and column a token
stands. A dense signal teaches a tower in an hour what a single verdict token does not teach it in a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from types import SimpleNamespace
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
from runtime.comparing import CLOSE_SIDE

SCREWS = 12
BOARDS, BOARDS_EVERY = 12, 3
KEPT_SCREWS, KEPT_WEIGHT = 5, 4.0
"""Where the tower only has to keep what it says of screws, beside boards in every step."""
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
    """Draws batches and computes the losses. `boards` are what is seen of them close up.

    Without an expert the tower, which comes from an earlier run then, keeps to what it said of screws.
    """

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        expert: Expert | None,
        screws: Sequence[Example],
        boards: Sequence[Example],
        device: torch.device,
    ) -> None:
        self._model, self._heads, self._expert, self._device = model, heads, expert, device
        self._screws, self._boards = list(screws), list(boards)
        self._donors = [example for example in self._screws if example.defects]
        self._before = _frozen(model) if expert is None else None

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: of ball screws, and at times of boards."""
        if self._expert is None:
            return self._kept(rng) | self._board_losses(rng)
        losses = self._screw_losses(self._expert, rng)
        if rng.integers(BOARDS_EVERY) == 0:
            losses |= self._board_losses(rng)
        return losses

    def _drawn(self, count: int, rng: np.random.Generator) -> tuple[list[Example], tuple[int, int], Tensor]:
        """Varied screws, the size that they are shown in, and their pixels."""
        picked = [self._screws[int(i)] for i in rng.integers(len(self._screws), size=count)]
        screws = [ballscrew.augment(example, self._donors, rng) for example in picked]
        size = SCREW_SIZES[int(rng.integers(len(SCREW_SIZES)))]
        return screws, size, self._pixels([s.picture for s in screws], size)

    def _kept(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """How far features and embeddings of screws are from what they were, in their own spread."""
        _, _, pixels = self._drawn(KEPT_SCREWS, rng)
        with torch.no_grad():
            features = patch_features(self._before, pixels)
            embeds = image_embeds(self._before, features)
        now = patch_features(self._model, pixels)
        moved = [(now, features), (image_embeds(self._model, now), embeds)]
        ratios = [(new - old).float().square().mean() / old.float().var() for new, old in moved]
        return {"kept": (ratios[0] + ratios[1]) * KEPT_WEIGHT}

    def _screw_losses(self, expert: Expert, rng: np.random.Generator) -> dict[str, Tensor]:
        screws, size, pixels = self._drawn(SCREWS, rng)
        with torch.no_grad():
            taught, features = expert(pixels)
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
        count, size = BOARDS, (CLOSE_SIDE, CLOSE_SIDE)
        boards = [pcb.augment(self._boards[int(i)], rng) for i in rng.integers(len(self._boards), size=count)]
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

    def _pixels(self, pictures: Sequence[Picture | None], size: tuple[int, int]) -> Tensor:
        stacked = np.stack([resized(picture, size) for picture in pictures if picture is not None])
        return normalized(torch.from_numpy(stacked).to(self._device))

    def _stacked(self, arrays: Sequence[Any]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._device)


def _frozen(model: Any) -> Any:
    """Tower and projector as they are now."""
    parts = {name: deepcopy(getattr(model.model, name)) for name in ("vision_tower", "multi_modal_projector")}
    return SimpleNamespace(model=SimpleNamespace(**parts))


def place_loss(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Cross entropy of the column and the row of every image token; logits `(B, T, 2 * MOST_TOKENS)`."""
    columns, rows = (torch.arange(side // TOKEN_SIZE, device=logits.device) for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], -1).expand(len(logits), -1, -1)
    return nn.functional.cross_entropy(logits.reshape(-1, MOST_TOKENS), places.flatten())
