"""Training sequences of pictures: prompts and the answers to write, behind the instruction that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.data.pack import IGNORE, Pack, branch, joined, shared
from lineside.runtime.inspection.task import ANSWER_PREFIX, InspectionTask, format_answer
from lineside.runtime.inspection.verdict import Defect, Region
from lineside.runtime.text.tokenizer import Tokenizer

VERDICT_WEIGHT, TYPE_WEIGHT, SYNTAX_WEIGHT = 6.0, 10.0, 0.3
"""The grammar writes most of what is neither verdict nor number."""
COORDINATE_WEIGHTS = (3.0, 2.0, 0.5)
"""Of the hundreds, tens and ones of a coordinate: the ones are hardly a pixel."""


def inspection_pack(
    examples: Sequence[Example], task: InspectionTask, tokenizer: Tokenizer, regions: Sequence[Region | None] = ()
) -> tuple[Pack, tuple[npt.NDArray[np.float32], ...]]:
    """Pictures of one size in, answers with verdict and boxes out, the largest first; a reference is shown first.

    `regions` are where a gate would have the model look, one or None for each example.

    Returns:
        pixels: one array `(B, 3, H, W)` for each picture of the prompt, beside the pack.
    """
    verdict_at = len(tokenizer.encode_text(ANSWER_PREFIX))
    digits = np.asarray([tokenizer.encode_text(str(digit))[-1] for digit in range(10)])
    image = tokenizer.special_id("[IMG]")
    parts: list[Pack] = []
    pixels = []
    for number, (example, region) in enumerate(zip(examples, regions or [None] * len(examples), strict=True)):
        height, width = example.picture.shape[:2]
        prompt = tokenizer.encode_chat(replace(task, reference=example.reference).messages(example.picture, region))
        start = int(np.flatnonzero(prompt.ids == image)[0])
        answer = format_answer(example.verdict, in_order(example).defects, width, height)
        target = np.asarray([*tokenizer.encode_text(answer), tokenizer.eos_id], np.int64)
        weights = _coordinate_weights(np.isin(target, digits))
        weights[verdict_at] = VERDICT_WEIGHT
        if len(task.defect_types) > 1:
            weights[_types_told(answer, target, task.defect_types, tokenizer)] = TYPE_WEIGHT
        if not parts:
            parts.append(shared(prompt.ids[:start]))
        parts.append(branch(prompt.ids[start:], target, weights, number, start))
        pixels.append(prompt.pixels)
    return joined(parts), tuple(np.stack(pictures) for pictures in zip(*pixels, strict=True))


def _types_told(
    answer: str, target: npt.NDArray[np.int64], types: Sequence[str], tokenizer: Tokenizer
) -> npt.NDArray[np.bool_]:
    """Which tokens of an answer's text tell one of `types` from another. The quote behind a name does, where another
    begins like it; the rest of a name that only one can be is written by the grammar."""
    sizes = [len(tokenizer.token_bytes[int(token)]) for token in target]
    told = np.zeros(len(target), bool)
    named = [found.span(1) for found in re.finditer(r'"type":"(\w+")', answer)]
    for at, start in enumerate(np.cumsum([0, *sizes[:-1]]).tolist()):
        for begin, end in named:
            if begin <= start < end:
                told[at] = sum(f'{name}"'.startswith(answer[begin:start]) for name in types) > 1
    return told


def in_order(example: Example) -> Example:
    """With its largest defect first, as answers tell them: it is the most marked, too."""

    def area(defect: Defect) -> float:
        x0, y0, x1, y1 = defect.box
        return (x1 - x0) * (y1 - y0)

    return replace(example, defects=tuple(sorted(example.defects, key=area, reverse=True)))


def boxes_written(pack: Pack, tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """In which of its answer's boxes each label stands, `(T,)`; -1 where in none."""
    opening, closing = (int(tokenizer.encode_text(mark)[-1]) for mark in "[]")
    boxes = np.full(len(pack.labels), -1, np.int64)
    for owner in np.unique(pack.owner[pack.labels != IGNORE]):
        box, inside = -2, False
        for at in np.flatnonzero((pack.owner == owner) & (pack.labels != IGNORE)):
            if inside:
                boxes[at] = box
            if pack.labels[at] == opening:
                box, inside = box + 1, box >= -1
            elif pack.labels[at] == closing:
                inside = False
    return boxes


def _coordinate_weights(is_digit: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """By the place of each digit in its number, counted from the right."""
    weights = np.full(len(is_digit), SYNTAX_WEIGHT, np.float32)
    place = 0
    for at in range(len(is_digit) - 1, -1, -1):
        if is_digit[at]:
            weights[at] = COORDINATE_WEIGHTS[max(2 - place, 0)]
            place += 1
        else:
            place = 0
    return weights
