"""Last stage: the whole network on whole answers. The tower goes on learning: left as it is, it tells the decoder where
a defect is in terms from which the decoder does not learn to write a box.

Beside the answers the decoder's hidden states at image tokens learn to mark defects, below its last layers: for
circuit boards that means to compare each place with the same place of the reference, which the answer alone would
take far longer to teach. They also learn where in the picture they are, and the digits of the box around a defect.
Commands go on in between, so that they are not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from export.default_model import ballscrew, pcb, tower
from export.default_model.ballscrew import Example
from export.default_model.batches import inspection_pack
from export.default_model.dense import CELLS, dense_targets
from export.default_model.losses import answer_loss, pack_loss
from export.default_model.network import image_embeds, patch_features
from export.default_model.packs import Packer
from export.default_model.size import TOKEN_SIZE
from runtime.inspection import InspectionTask, Region
from runtime.tokenizer import Tokenizer

SCREWS, SCREWS_PER_PACK = 12, 4
"""In larger packs attention, which is quadratic, costs more than the shared instruction saves."""
PACKS_EVERY = 2
"""Commands in every second step."""
BOARDS_EVERY, BOARD_WEIGHT = 6, 0.3
"""A whole board is two pictures of 144 tokens. Until the marks say where its faults are, its answer cannot be known and
teaches to write boxes without looking, so it counts little.
"""
SCREW_WEIGHT = 2.0
MARKS_WEIGHT, DIGIT_WEIGHT = 0.5, 0.6


def make_heads(hidden: int) -> nn.ModuleDict:
    """The heads of this stage: cells of the token, digits of the box around it, and where the token is."""
    others = tower.DIGITS + 2 * tower.MOST_TOKENS
    sizes = {"mark": CELLS + others, "compare": CELLS * len(pcb.TYPES) + others}
    return nn.ModuleDict({name: nn.Linear(hidden, size) for name, size in sizes.items()})


class JointStage:
    """Draws batches and computes the losses."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        tokenizer: Tokenizer,
        packer: Packer,
        screws: Sequence[Example],
        boards: Sequence[Example],
        device: torch.device,
    ) -> None:
        self._model, self._heads, self._tokenizer, self._packer, self._device = model, heads, tokenizer, packer, device
        self._boards = list(boards)
        self._donors = [example for example in screws if example.defects]
        by_size: dict[tuple[int, ...], list[Example]] = {}
        for example in screws:
            by_size.setdefault(example.picture.shape, []).append(example)
        self._screws = list(by_size.values())

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: answers and marks for screws and boards, and commands."""
        with parametrize.cached():  # a rounded matrix is rounded once a step
            return self._losses(rng)

    def _losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        shares = np.asarray([len(group) for group in self._screws], float)
        group = self._screws[int(rng.choice(len(shares), p=shares / shares.sum()))]
        picked = [group[int(i)] for i in rng.integers(len(group), size=SCREWS)]
        screws = [ballscrew.augment(example, self._donors, rng) for example in picked]
        packs = [screws[at : at + SCREWS_PER_PACK] for at in range(0, SCREWS, SCREWS_PER_PACK)]
        pairs = [
            self._picture_losses(pack, ballscrew.TASK, "mark", [ballscrew.region(s, rng) for s in pack])
            for pack in packs
        ]
        screw, screw_marks = (torch.stack(side).mean() for side in zip(*pairs, strict=True))
        losses = {"screw": screw * SCREW_WEIGHT, "screw_marks": screw_marks * MARKS_WEIGHT}
        if rng.integers(BOARDS_EVERY) == 0:
            example = pcb.augment(self._boards[int(rng.integers(len(self._boards)))], rng)
            board, board_marks = self._picture_losses([example], pcb.TASK, "compare")
            losses["board"] = board * BOARD_WEIGHT
            losses["board_marks"] = board_marks * MARKS_WEIGHT
        if rng.integers(PACKS_EVERY) == 0:
            losses["command"] = pack_loss(self._model, self._packer.draw(rng), self._device)
        return losses

    def _picture_losses(
        self, examples: Sequence[Example], task: InspectionTask, head: str, regions: Sequence[Region | None] = ()
    ) -> tuple[Tensor, Tensor]:
        pack, pixels = inspection_pack(examples, task, self._tokenizer, regions)
        features = [patch_features(self._model, torch.from_numpy(p).to(self._device)) for p in pixels]
        embeds = torch.cat([image_embeds(self._model, f) for f in features], 1)
        answer, middle = answer_loss(self._model, pack, embeds, self._device)
        height, width = pixels[-1].shape[2:]
        tokens = (height // TOKEN_SIZE) * (width // TOKEN_SIZE)
        marks = self._heads[head](middle[:, -tokens:]).float()
        pairs = [dense_targets(example, (width, height), task.defect_types) for example in examples]
        maps, boxes = (torch.from_numpy(np.stack(side)).to(self._device) for side in zip(*pairs, strict=True))
        cells, digits, places = marks.split((maps.shape[-1], tower.DIGITS, 2 * tower.MOST_TOKENS), -1)
        return answer, (
            tower.marked(cells, maps) * (2.0 if head == "mark" else 4.0)
            + tower.digit_loss(digits, boxes, (width, height)) * DIGIT_WEIGHT
            + tower.place_loss(places, (width, height)) * tower.PLACE_WEIGHT
        )
