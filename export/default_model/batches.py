"""Training batches: prompts with the answers that the model should write, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.default_model.ballscrew import TASK, Example
from export.default_model.commands import NO_TOOL_TEXT, Command, command_messages
from runtime.inspection import ANSWER_PREFIX, format_answer
from runtime.tokenizer import Tokenizer

IGNORE = -100
VERDICT_WEIGHT = 4.0
DIGIT_WEIGHT = 4.0


@dataclass(frozen=True)
class Batch:
    """ids, labels `(B, T)` int64; weights `(B, T)` float32; pixels `(B, 3, H, W)` or None;
    defect_map `(B, H/28 * W/28)` float32 or None: 1 where a merged patch touches a defect."""

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.float32] | None = None
    defect_map: npt.NDArray[np.float32] | None = None


def inspection_batch(examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
    """Pictures of one size in, answers with verdict and boxes out."""
    rows, pixels, maps = [], [], []
    verdict_at = len(tokenizer.encode_text(ANSWER_PREFIX))
    for example in examples:
        height, width = example.picture.shape[:2]
        prompt = tokenizer.encode_chat(TASK.messages(example.picture))
        answer = format_answer(example.verdict, example.defects, width, height)
        target = [*tokenizer.encode_text(answer), tokenizer.eos_id]
        weights = np.ones(len(target), np.float32)
        weights[verdict_at] = VERDICT_WEIGHT
        rows.append((prompt.ids, np.asarray(target, np.int64), weights))
        pixels.append(prompt.pixels[0])
        maps.append(_defect_map(example, prompt.pixels[0].shape[1:]))
    return _pad(rows, np.stack(pixels), np.stack(maps))


def command_batch(commands: Sequence[Command], tokenizer: Tokenizer) -> Batch:
    """Commands with their tools in, calls or a refusal out."""
    rows = []
    digits = np.asarray([tokenizer.encode_text(str(digit))[0] for digit in range(10)])
    for command in commands:
        prompt = tokenizer.encode_chat(command_messages(command.text), command.tools)
        body = tokenizer.encode_answer("" if command.call else NO_TOOL_TEXT, (command.call,) if command.call else ())
        target = np.asarray([*body, tokenizer.eos_id], np.int64)
        weights = np.where(np.isin(target, digits), DIGIT_WEIGHT, 1.0).astype(np.float32)
        rows.append((prompt.ids, target, weights))
    return _pad(rows)


def _defect_map(example: Example, size: tuple[int, ...], merged: int = 28) -> npt.NDArray[np.float32]:
    height, width = example.picture.shape[:2]
    rows, columns = size[0] // merged, size[1] // merged
    cells = np.zeros((rows, columns), np.float32)
    for defect in example.defects:
        x0, y0, x1, y1 = defect.box
        left, right = int(x0 * columns / width), int(np.ceil(x1 * columns / width))
        top, bottom = int(y0 * rows / height), int(np.ceil(y1 * rows / height))
        cells[top:bottom, left:right] = 1.0
    return cells.reshape(-1)


def _pad(
    rows: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]],
    pixels: npt.NDArray[np.float32] | None = None,
    defect_map: npt.NDArray[np.float32] | None = None,
) -> Batch:
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
    return Batch(ids, labels, weights, pixels, defect_map)
