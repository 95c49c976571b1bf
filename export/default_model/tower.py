"""First stage: the vision tower and the projector alone, on dense targets through heads that are thrown away after.

Several things at once: to foretell EfficientNet-Lite0's features of the picture (every patch), to mark pitted patches
of ball screws, to mark and name the faults of circuit boards from the embeddings of scan and reference, to know in
which row and column a token stands, and the digits that the answer writes for the box around a defect. A dense signal
teaches a tower in an hour what a single verdict token does not teach it in a day; and what stands in the embeddings as
digits the decoder only has to copy.
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
from export.default_model.size import MAX_IMAGE_SIZE, TOKEN_SIZE
from export.default_model.teacher import CHANNELS, CLIP_MEAN, CLIP_STD, Teacher
from runtime.chat import Picture
from runtime.inspection import GRID

SCREW_SIZES = ((576, 240), (576, 240), (576, 288))
"""Width and height that the runtime makes of the ball-screw pictures; a step draws one."""
SCREWS, OTHERS = 5, 2
TAUGHT = 3
"""Ball screws of a step that the teacher sees, too: it takes longer than the tower."""
BOARD_SIZES = ((192, 6), (192, 6), (288, 3), (384, 2), (576, 1))
"""Pixels along the side, and how many boards; a step draws one, so that the tower learns pictures of every size."""
BOARD_SCALES = (0.8, 1.0)
MARK_WEIGHT = 4.0
DIGITS = 4 * 2 * 10
"""Logits of the hundreds and the tens of a box's four edges."""
BOX_WEIGHT, DIGIT_WEIGHT, PLACE_WEIGHT = 3.0, 0.3, 0.2
MOST_TOKENS = MAX_IMAGE_SIZE // TOKEN_SIZE
"""Image tokens along a side."""
RECALL_SIDE = 16
"""Of the small grey picture of its own place that an image token must remember."""


def make_heads(vision_hidden: int, hidden: int) -> nn.ModuleDict:
    """The heads, for patch features of `vision_hidden` and image embeddings of `hidden` channels."""
    box = 4 + DIGITS
    pair = nn.Sequential(nn.Linear(2 * hidden, 384), nn.SiLU(), nn.Linear(384, CELLS * len(pcb.TYPES) + box))
    foretell, mark = nn.Linear(vision_hidden, CHANNELS), nn.Linear(hidden, CELLS + box)
    recall, place = nn.Linear(hidden, RECALL_SIDE**2), nn.Linear(hidden, 2 * MOST_TOKENS)
    return nn.ModuleDict({"foretell": foretell, "mark": mark, "compare": pair, "recall": recall, "place": place})


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
        """One step's losses: `foretell`, `recall`, `mark`, `compare`, `box`, `digits`, `place`."""
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
            "foretell": self._foretold(features[0][:TAUGHT], screw_pixels[:TAUGHT])
            + self._foretold(features[2], other_pixels),
            "recall": self._recalled(embeds[0], screw_pixels) + 2 * self._recalled(embeds[1], board_pixels),
            "mark": marked(marks[..., :CELLS], screw_maps) * 2,
            "compare": marked(compared[..., : -4 - DIGITS], board_maps) * 8,
            "box": BOX_WEIGHT
            * (
                boxed(marks[..., CELLS : CELLS + 4], screw_boxes)
                + boxed(compared[..., -4 - DIGITS : -DIGITS], board_boxes)
            ),
            "digits": DIGIT_WEIGHT
            * (
                digit_loss(marks[..., -DIGITS:], screw_boxes, screw_size)
                + digit_loss(compared[..., -DIGITS:], board_boxes, (side, side))
            ),
            "place": PLACE_WEIGHT
            * sum(
                place_loss(self._heads["place"](e).float(), (p.shape[3], p.shape[2]))
                for e, p in zip(embeds, batches, strict=True)
            ),
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


def digit_loss(logits: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cross entropy of the hundreds and tens that the answer writes for each edge, where there is a defect.

    Args:
        logits: `(B, T, DIGITS)`.
        boxes: `(B, T, 4)` as `dense_targets` gives them.
        size: width and height of the pictures in pixels.
    """
    known = ~torch.isnan(boxes[..., 0])
    if not bool(known.any()):
        return logits.sum() * 0
    scale = torch.tensor([*size, *size], device=boxes.device)
    edges = boxes * TOKEN_SIZE + centres(size, boxes.device).repeat(1, 2)
    grid = (edges[known] / scale * GRID).round().clamp(0, GRID - 1).long()
    digits = torch.stack([grid // 100, grid // 10 % 10], -1)
    return nn.functional.cross_entropy(logits[known].reshape(-1, 10), digits.flatten())


def place_loss(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Cross entropy of the column and the row of every image token; logits `(B, T, 2 * MOST_TOKENS)`."""
    places = (centres(size, logits.device) // TOKEN_SIZE).long().expand(len(logits), -1, -1)
    return nn.functional.cross_entropy(logits.reshape(-1, MOST_TOKENS), places.flatten())


def centres(size: tuple[int, int], device: torch.device) -> Tensor:
    """Centre of every image token of a picture of `size` in pixels, x and y, `(T, 2)`."""
    columns, rows = (torch.arange(side // TOKEN_SIZE, device=device) for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return (torch.stack([x.flatten(), y.flatten()], -1) + 0.5) * TOKEN_SIZE
