"""First stage: the vision tower and the projector alone, on dense targets through heads that are thrown away after.

Three things at once: to foretell EfficientNet-Lite0's features of the picture (every patch), to mark pitted patches
of ball screws, and to mark and name the faults of circuit boards from the embeddings of scan and reference. A dense
signal teaches a tower in an hour what a single verdict token does not teach it in a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.default_model import ballscrew, pcb
from export.default_model.ballscrew import Example
from export.default_model.dense import CELLS, dense_targets, resized
from export.default_model.network import image_embeds, patch_features
from export.default_model.size import TOKEN_SIZE
from export.default_model.teacher import CHANNELS, CLIP_MEAN, CLIP_STD, Teacher
from runtime.chat import Picture

SCREW_SIZES = ((576, 240), (576, 240), (576, 288))
"""Width and height that the runtime makes of the ball-screw pictures; a step draws one."""
SCREWS, OTHERS = 6, 2
BOARD_SIZES = ((192, 6), (192, 6), (288, 3), (384, 2), (576, 1))
"""Pixels along the side, and how many boards; a step draws one, so that the tower learns pictures of every size."""
BOARD_SCALES = (0.8, 1.0)
MARK_WEIGHT = 4.0
RECALL_SIDE = 16
"""Of the small grey picture of its own place that an image token must remember."""


def make_heads(vision_hidden: int, hidden: int) -> nn.ModuleDict:
    """The heads, for patch features of `vision_hidden` and image embeddings of `hidden` channels."""
    pair = nn.Sequential(nn.Linear(2 * hidden, 384), nn.SiLU(), nn.Linear(384, CELLS * len(pcb.TYPES) + 4))
    foretell, mark = nn.Linear(vision_hidden, CHANNELS), nn.Linear(hidden, CELLS + 4)
    recall = nn.Linear(hidden, RECALL_SIDE**2)
    return nn.ModuleDict({"foretell": foretell, "mark": mark, "compare": pair, "recall": recall})


class TowerStage:
    """Draws batches and computes the losses."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        teacher: Teacher,
        screws: Sequence[Example],
        boards: Sequence[Example],
        others: Sequence[Picture],
        device: torch.device,
    ) -> None:
        self._model, self._heads, self._teacher, self._device = model, heads, teacher, device
        self._screws, self._boards, self._others = list(screws), list(boards), list(others)
        self._donors = [example for example in self._screws if example.defects]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: `foretell`, `mark`, `box`, `compare`."""
        picked = [self._screws[int(i)] for i in rng.integers(len(self._screws), size=SCREWS)]
        screws = [ballscrew.augment(example, self._donors, rng) for example in picked]
        screw_size = SCREW_SIZES[int(rng.integers(len(SCREW_SIZES)))]
        side, count = BOARD_SIZES[int(rng.integers(len(BOARD_SIZES)))]
        boards = [self._board(rng, side) for _ in range(count)]
        screw_pixels = self._pixels([s.picture for s in screws], screw_size)
        board_pixels = self._pixels([*(b.picture for b in boards), *(b.reference for b in boards)], (side, side))
        other_pixels = self._pixels([self._other(rng) for _ in range(OTHERS)], (192, 192))
        batches = (screw_pixels, board_pixels, other_pixels)
        features = [patch_features(self._model, pixels) for pixels in batches]
        embeds = [image_embeds(self._model, feature) for feature in features]
        marks = self._heads["mark"](embeds[0]).float()
        compared = self._heads["compare"](torch.cat([embeds[1][:count], embeds[1][count:]], -1)).float()
        screw_maps, screw_boxes = self._targets(screws, screw_size, ballscrew.TASK.defect_types)
        board_maps, board_boxes = self._targets(boards, (side, side), pcb.TYPES)
        return {
            "foretell": self._foretold(features[0], screw_pixels) + self._foretold(features[2], other_pixels),
            "recall": self._recalled(embeds[0], screw_pixels) + 2 * self._recalled(embeds[1], board_pixels),
            "mark": marked(marks[..., :CELLS], screw_maps) * 2,
            "compare": marked(compared[..., :-4], board_maps) * 8,
            "box": boxed(marks[..., -4:], screw_boxes) + boxed(compared[..., -4:], board_boxes),
        }

    def _foretold(self, features: Tensor, pixels: Tensor) -> Tensor:
        """How far the teacher's features are from what the tower says."""
        said = self._heads["foretell"](features.movedim(1, -1)).float()
        return nn.functional.smooth_l1_loss(said, self._teacher.features(pixels).movedim(1, -1).float())

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

    def _other(self, rng: np.random.Generator) -> Picture:
        """A part of a picture that has nothing to do with the tasks."""
        picture = self._others[int(rng.integers(len(self._others)))]
        side = int(rng.uniform(0.4, 1.0) * min(picture.shape[:2]))
        y, x = (int(rng.integers(size - side + 1)) for size in picture.shape[:2])
        return picture[y : y + side, x : x + side]

    def _pixels(self, pictures: Sequence[Picture | None], size: tuple[int, int]) -> Tensor:
        stacked = np.stack([resized(picture, size) for picture in pictures if picture is not None])
        return normalized(torch.from_numpy(stacked).to(self._device))

    def _targets(
        self, examples: Sequence[Example], size: tuple[int, int], types: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        pairs = [dense_targets(example, size, types) for example in examples]
        maps, boxes = (np.stack(side) for side in zip(*pairs, strict=True))
        return torch.from_numpy(maps).to(self._device), torch.from_numpy(boxes).to(self._device)


def normalized(pictures: Tensor) -> Tensor:
    """Pictures `(B, H, W, 3)` uint8 to pixels `(B, 3, H, W)` as the tower wants them."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 255
    return (pixels - CLIP_MEAN.to(pixels.device)) / CLIP_STD.to(pixels.device)


def marked(marks: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of marks; the few cells with a defect weigh more."""
    weight = torch.tensor(MARK_WEIGHT, device=marks.device)
    return nn.functional.binary_cross_entropy_with_logits(marks, target, pos_weight=weight)


def boxed(boxes: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the edges, where there is a defect."""
    known = ~torch.isnan(target[..., 0])
    if not bool(known.any()):
        return boxes.sum() * 0
    return nn.functional.l1_loss(boxes[known], target[known])
