"""Fourth stage's data: states behind the layers that stay as they are, computed once and kept in a folder.

A step of the last layer costs a tenth of the pass through the tower and the layers before it; thousands of steps over
the same few thousand pictures are affordable that way.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from lineside.export.default_model.data import ballscrew, pcb
from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.data.pack import IGNORE, Pack
from lineside.export.default_model.data.packs import Packer
from lineside.export.default_model.networks import decoder
from lineside.export.default_model.networks.dense import coverage, resized, scale, token_kinds, token_shares
from lineside.export.default_model.networks.losses import pack_tensors
from lineside.export.default_model.networks.network import image_embeds, patch_features
from lineside.export.default_model.stages.batches import SYNTAX_WEIGHT, boxes_written, in_order, inspection_pack
from lineside.runtime.inspection.close_ups import CLOSE_SIDE
from lineside.runtime.inspection.verdict import Defect
from lineside.runtime.text.tokenizer import Tokenizer

SCREWS, VIEWS, WHOLE_BOARDS, COMMANDS = 4, 6, 2, 8
"""In a pack. Attention over larger ones, which is quadratic, costs more than the shared instruction saves."""
PASTE_ODDS = 0.2
"""Lower than for the tower: most bad parts have one defect, and two are hard to tell apart."""
DICTATED = 6
"""Made-up boxes in an answer."""
EDGE_ODDS, NEAR_EDGE = 0.25, 0.15
"""Of those that lie near an edge, and how far from it at most, in sides of the picture."""
SYNTAX_SHARE = 0.25
"""Of the tokens that the grammar writes, those that are learnt nevertheless."""
WHOLE_ODDS, EMPTY_ODDS = 0.1, 0.2
"""Of boards that are shown whole, since nothing differs; and, close up, of a difference that is none."""
PER_FILE = 50


@dataclass(frozen=True)
class Sample:
    """A pack as the last layer is given it, and what it should make of it.

    Attributes:
        states: `(T, hidden)` bfloat16, with positions and owner `(T,)`.
        rows: where it answers, `(R,)`; labels and weights `(R,)`.
        boxes: which of the rows write a box, `(B,)`.
        shares: where to look for it, `(B, T)` bfloat16.
        edges: of the box, in sides of the picture, `(B, 4)`.
        tokens: which are of a picture that is inspected, `(I,)`.
        covered: how much of each one defect covers, `(I,)`.
        around: that one's edges, `(I, 4)`; NaN for none.
        kinds: the number of its type, `(I,)`; -1 for none.
    """

    states: Tensor
    positions: Tensor
    owner: Tensor
    rows: Tensor
    labels: Tensor
    weights: Tensor
    boxes: Tensor
    shares: Tensor
    edges: Tensor
    tokens: Tensor
    covered: Tensor
    around: Tensor
    kinds: Tensor


class Sampler:
    """Draws samples from a model, of which the layers before the last are run."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        packer: Packer,
        screws: Sequence[Example],
        boards: Sequence[Example],
        device: torch.device,
    ) -> None:
        self._model, self._tokenizer, self._packer, self._device = model, tokenizer, packer, device
        self._weights = [decoder.weights_of(layer) for layer in model.model.language_model.layers[:-1]]
        self._boards = boards
        seen = [view for board in track(boards, description="boards") for view in pcb.close_ups(board)]
        self._views = {bad: [view for view in seen if bool(view.defects) == bad] for bad in (True, False)}
        self._donors = [example for example in screws if example.defects]
        by_size: dict[tuple[int, ...], list[Example]] = {}
        for example in screws:
            by_size.setdefault(example.picture.shape, []).append(example)
        self._screws = list(by_size.values())
        self._choices = np.asarray([int(tokenizer.encode_text(mark)[-1]) for mark in ("]", "],", ",")])

    def screws(self, rng: np.random.Generator) -> Sample:
        """Varied pictures with the right answers."""
        sizes = np.asarray([len(group) for group in self._screws], float)
        group = self._screws[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]
        picked = [group[int(i)] for i in rng.integers(len(group), size=SCREWS)]
        screws = [ballscrew.augment(example, self._donors, rng, PASTE_ODDS) for example in picked]
        regions = [ballscrew.region(screw, rng) for screw in screws]
        pack, (views,) = inspection_pack(screws, ballscrew.TASK, self._tokenizer, regions)
        pixels = torch.from_numpy(np.ascontiguousarray(views)).to(self._device)
        height, width = pixels.shape[2:]
        return self._sample(pack, rng, pixels, screws, (int(width), int(height)))

    def boards(self, rng: np.random.Generator) -> Sample:
        """What is seen of boards close up; at times whole boards that are as their references."""
        whole = rng.random() < WHOLE_ODDS
        drawn = [self._whole(rng) if whole else self._view(rng) for _ in range(WHOLE_BOARDS if whole else VIEWS)]
        pack, pairs = inspection_pack(drawn, replace(pcb.TASK, tinted=not whole), self._tokenizer)
        pixels = torch.from_numpy(np.stack(pairs, 1)).flatten(0, 1).to(self._device)  # reference, scan, reference, ...
        side = int(pixels.shape[-1])
        return self._sample(pack, rng, pixels, drawn, (side, side))

    def _view(self, rng: np.random.Generator) -> Example:
        views = self._views[bool(rng.random() >= EMPTY_ODDS)]
        view = pcb.warp(pcb.augment(views[int(rng.integers(len(views)))], rng), rng)
        if view.picture.shape[0] == CLOSE_SIDE or view.reference is None:
            return view
        size = (CLOSE_SIDE, CLOSE_SIDE)
        boxes = (np.asarray(defect.box) * CLOSE_SIDE / view.picture.shape[0] for defect in view.defects)
        defects = (Defect(d.type, tuple(b.tolist())) for d, b in zip(view.defects, boxes, strict=True))
        return replace(
            view, picture=resized(view.picture, size), reference=resized(view.reference, size), defects=tuple(defects)
        )

    def _whole(self, rng: np.random.Generator) -> Example:
        board = pcb.augment(self._boards[int(rng.integers(len(self._boards)))], rng)
        if board.reference is None:
            raise ValueError(f"{board.name} has no reference")
        shifted = np.roll(board.reference, rng.integers(-1, 2, size=2), axis=(0, 1))
        return replace(board, picture=shifted, defects=())

    def dictation(self, rng: np.random.Generator) -> Sample:
        """Pictures with made-up boxes in the answers, anywhere: the real ones teach only a few of all numbers."""
        group = self._screws[int(rng.integers(len(self._screws)))]
        picked = [group[int(i)] for i in rng.integers(len(group), size=SCREWS)]
        told = [replace(example, defects=tuple(made_up(example, rng) for _ in range(DICTATED))) for example in picked]
        pack, (views,) = inspection_pack(told, ballscrew.TASK, self._tokenizer)
        pixels = torch.from_numpy(np.ascontiguousarray(views)).to(self._device)
        height, width = pixels.shape[2:]
        return self._sample(pack, rng, pixels, told, (int(width), int(height)))

    def commands(self, rng: np.random.Generator) -> Sample:
        """Commands with the right answers."""
        return self._sample(self._packer.draw(rng, COMMANDS), rng)

    def _sample(
        self,
        pack: Pack,
        rng: np.random.Generator,
        pixels: Tensor | None = None,
        screws: Sequence[Example] = (),
        size: tuple[int, int] = (0, 0),
    ) -> Sample:
        learnt = pack.labels != IGNORE
        if screws:
            forced = (pack.weights <= SYNTAX_WEIGHT) & ~np.isin(pack.labels, self._choices)
            learnt &= ~forced | (rng.random(len(learnt)) < SYNTAX_SHARE)
        rows = np.flatnonzero(learnt)
        image = pack.ids == self._model.config.image_token_index
        if screws and screws[0].reference is not None:
            image &= _second_half(image, pack.owner)
        targets = _box_targets(pack, boxes_written(pack, self._tokenizer)[rows], rows, image, screws, size)
        covered, around, kinds = _token_targets(screws, size)
        return Sample(
            states=self._states(pack, pixels).cpu(),
            positions=torch.from_numpy(pack.positions),
            owner=torch.from_numpy(pack.owner),
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(pack.labels[rows]),
            weights=torch.from_numpy(pack.weights[rows]),
            boxes=torch.from_numpy(targets[0]),
            shares=torch.from_numpy(targets[1]).to(torch.bfloat16),
            edges=torch.from_numpy(targets[2]),
            tokens=torch.from_numpy(np.flatnonzero(image)),
            covered=torch.from_numpy(covered),
            around=torch.from_numpy(around),
            kinds=torch.from_numpy(kinds),
        )

    def _states(self, pack: Pack, pixels: Tensor | None) -> Tensor:
        language: Any = self._model.model.language_model
        ids, positions, _, owner = pack_tensors(pack, self._device)
        with torch.no_grad():
            hidden = language.embed_tokens(ids)
            if pixels is not None:
                with torch.autocast(self._device.type, dtype=torch.bfloat16):
                    embeds = image_embeds(self._model, patch_features(self._model, pixels))
                pictured = (ids == self._model.config.image_token_index).unsqueeze(-1)
                hidden = hidden.masked_scatter(pictured, embeds.to(hidden.dtype))
            return decoder.run(language, hidden, positions, owner, self._weights)[: len(ids)].clone()


def made_up(example: Example, rng: np.random.Generator) -> Defect:
    """A defect of any size anywhere in the picture, often at the upper or left edge, where numbers have two digits."""
    height, width = example.picture.shape[:2]
    sides = np.asarray([width, height]) * np.exp(rng.uniform(np.log(0.02), np.log(0.5), size=2))
    near = np.where(rng.random(2) < EDGE_ODDS, NEAR_EDGE, 1.0)
    x, y = rng.uniform(0, (np.asarray([width, height]) - sides) * near)
    return Defect(ballscrew.TASK.defect_types[0], (float(x), float(y), float(x + sides[0]), float(y + sides[1])))


def collect(
    folder: Path, name: str, count: int, seed: int, draw: Callable[[np.random.Generator], Sample]
) -> list[Sample]:
    """`count` samples, rounded up to whole files; those of `folder` that an interrupted run left are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for number in track(range(-(-count // PER_FILE)), description=f"states of {name}"):
        path = folder / f"{name}-{number:03}.pt"
        if not path.exists():
            drawn = [draw(np.random.default_rng([seed, number, at, *name.encode()])) for at in range(PER_FILE)]
            partial = path.with_suffix(".partial")
            torch.save([asdict(sample) for sample in drawn], partial)
            shutil.move(partial, path)
        samples += [Sample(**fields) for fields in torch.load(path, weights_only=True, mmap=True)]
    return samples


def _box_targets(
    pack: Pack, written: Any, rows: Any, image: Any, screws: Sequence[Example], size: tuple[int, int]
) -> tuple[Any, Any, Any]:
    """Which rows write a box, where in the pack to look for it, and its edges."""
    boxes = np.flatnonzero(written >= 0) if screws else np.zeros(0, np.int64)
    shares = np.zeros((len(boxes), len(pack.ids)), np.float32)
    edges = np.zeros((len(boxes), 4), np.float32)
    for at, box in enumerate(boxes):
        owner = int(pack.owner[rows[box]])
        screw = in_order(screws[owner])
        shares[at, image & (pack.owner == owner)] = token_shares(screw, size)[written[box]]
        edges[at] = _edges(screw, size)[written[box]]
    return boxes, shares, edges


def _second_half(image: Any, owner: Any) -> Any:
    """Of the image tokens of each owner those of its second picture, where both are equally large."""
    second = np.zeros_like(image)
    for number in np.unique(owner[image]):
        places = np.flatnonzero(image & (owner == number))
        second[places[len(places) // 2 :]] = True
    return second


def _token_targets(screws: Sequence[Example], size: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Of all image tokens of a pack: how much a defect covers of each, and edges and type of the one that does most."""
    covered, around, kinds = [np.zeros(0, np.float32)], [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)]
    for screw in screws:
        share = coverage(screw, size)
        most = share.max(0, initial=0.0)
        boxes = _edges(screw, size)[share.argmax(0)] if len(share) else np.full((len(most), 4), np.nan)
        types = ballscrew.TASK.defect_types if screw.reference is None else pcb.TYPES
        covered.append(most.astype(np.float32))
        around.append(np.where(most[:, None] > 0, boxes, np.nan).astype(np.float32))
        kinds.append(token_kinds(screw, size, types))
    return np.concatenate(covered), np.concatenate(around), np.concatenate(kinds)


def _edges(screw: Example, size: tuple[int, int]) -> Any:
    """Of all defects, in sides of the picture, `(defects, 4)`."""
    boxes = np.asarray([defect.box for defect in screw.defects], np.float32).reshape(-1, 4)
    return boxes * np.tile(scale(screw, size), 2) / (*size, *size)
