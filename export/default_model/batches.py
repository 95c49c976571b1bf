"""Training batches of pictures: prompts with the answers that the model should write, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from export.default_model.ballscrew import Example
from runtime.inspection import ANSWER_PREFIX, InspectionTask, Region, format_answer
from runtime.tokenizer import Tokenizer

IGNORE = -100
VERDICT_WEIGHT = 6.0
COORDINATE_WEIGHTS = (3.0, 2.0, 0.5)
"""Of the hundreds, tens and ones of a coordinate: the ones are hardly a pixel."""


@dataclass(frozen=True)
class Batch:
    """ids, labels `(B, T)` int64; weights `(B, T)` float32; pixels: one array `(B, 3, H, W)` for each picture of the
    prompt."""

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    pixels: tuple[npt.NDArray[np.float32], ...]


def inspection_batch(
    examples: Sequence[Example], task: InspectionTask, tokenizer: Tokenizer, regions: Sequence[Region | None] = ()
) -> Batch:
    """Pictures of one size in, answers with verdict and boxes out; examples with a reference show it first.

    `regions` are where a gate would have the model look, one or None for each example.
    """
    rows, pixels = [], []
    verdict_at = len(tokenizer.encode_text(ANSWER_PREFIX))
    digits = np.asarray([tokenizer.encode_text(str(digit))[-1] for digit in range(10)])
    for example, region in zip(examples, regions or [None] * len(examples), strict=True):
        height, width = example.picture.shape[:2]
        prompt = tokenizer.encode_chat(replace(task, reference=example.reference).messages(example.picture, region))
        answer = format_answer(example.verdict, example.defects, width, height)
        target = np.asarray([*tokenizer.encode_text(answer), tokenizer.eos_id], np.int64)
        weights = _coordinate_weights(np.isin(target, digits))
        weights[verdict_at] = VERDICT_WEIGHT
        rows.append((prompt.ids, target, weights))
        pixels.append(prompt.pixels)
    ids, labels, padded = _pad(rows)
    return Batch(ids, labels, padded, tuple(np.stack(pictures) for pictures in zip(*pixels, strict=True)))


def _coordinate_weights(is_digit: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """By the place of each digit in its number, counted from the right."""
    weights = np.ones(len(is_digit), np.float32)
    place = 0
    for at in range(len(is_digit) - 1, -1, -1):
        if is_digit[at]:
            weights[at] = COORDINATE_WEIGHTS[max(2 - place, 0)]
            place += 1
        else:
            place = 0
    return weights


def _pad(
    rows: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Labels stand one to the left of the token that they name: position t predicts token t + 1."""
    length = max(len(prompt) + len(target) for prompt, target, _ in rows)
    ids = np.full((len(rows), length), 11, np.int64)
    labels = np.full((len(rows), length), IGNORE, np.int64)
    weights = np.zeros((len(rows), length), np.float32)
    for row, (prompt, target, weight) in enumerate(rows):
        start, stop = len(prompt), len(prompt) + len(target)
        ids[row, :start], ids[row, start:stop] = prompt, target
        labels[row, start - 1 : stop - 1] = target
        weights[row, start - 1 : stop - 1] = weight
    return ids, labels, weights
