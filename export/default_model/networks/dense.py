"""What each patch and each image token should know of the defects: targets for its training."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from lineside.export.default_model.data.ballscrew import Example
from lineside.export.default_model.networks.size import MERGE, PATCH_SIZE, TOKEN_SIZE
from lineside.runtime.chat import Picture

Floats = npt.NDArray[np.float32]
CELLS = MERGE * MERGE
"""Patches of an image token."""


def cell_map(example: Example, size: tuple[int, int], types: Sequence[str]) -> Floats:
    """1 where a patch touches a defect of the type, `(rows, columns, types)`, for a picture of `size`."""
    sx, sy = scale(example, size)
    rows, columns = size[1] // PATCH_SIZE, size[0] // PATCH_SIZE
    cells = np.zeros((rows, columns, len(types)), np.float32)
    for defect in example.defects:
        x0, y0, x1, y1 = (v * s / PATCH_SIZE for v, s in zip(defect.box, (sx, sy, sx, sy), strict=True))
        left, right = int(x0 + 0.2), int(np.ceil(x1 - 0.2))
        top, bottom = int(y0 + 0.2), int(np.ceil(y1 - 0.2))
        cells[top : max(bottom, top + 1), left : max(right, left + 1), types.index(defect.type)] = 1.0
    return cells


def by_token(cells: Floats) -> Floats:
    """A map `(rows, columns, types)` as what each image token should know, `(T, CELLS * types)`."""
    rows, columns, types = cells.shape
    merged = cells.reshape(rows // MERGE, MERGE, columns // MERGE, MERGE, types).transpose(0, 2, 1, 3, 4)
    return merged.reshape(-1, CELLS * types)


def token_boxes(example: Example, size: tuple[int, int]) -> Floats:
    """Edges of the defect that covers most of a token, from its centre, in tokens; NaN for none; `(T, 4)`."""
    covered = coverage(example, size)
    if not len(covered):
        return np.full((covered.shape[1], 4), np.nan, np.float32)
    edges = np.asarray([d.box for d in example.defects], np.float32) * np.tile(scale(example, size), 2) / TOKEN_SIZE
    boxes = edges[covered.argmax(0)] - np.tile(token_centres(size), 2)
    return np.where(covered.max(0)[:, None] > 0, boxes, np.nan).astype(np.float32)


def token_shares(example: Example, size: tuple[int, int]) -> Floats:
    """In which tokens to look for each defect: those of which it covers most, by how much of them; `(defects, T)`."""
    covered = coverage(example, size)
    own = np.where(covered == covered.max(0, initial=0.0), covered, 0.0)
    own = np.where(own.sum(1, keepdims=True) > 0, own, covered)
    return np.asarray(own / own.sum(1, keepdims=True), np.float32)


def token_kinds(example: Example, size: tuple[int, int], types: Sequence[str]) -> npt.NDArray[np.int64]:
    """The number of the type of the defect that covers most of a token; -1 for none; `(T,)`."""
    covered = coverage(example, size)
    if not len(covered):
        return np.full(covered.shape[1], -1)
    numbers = np.asarray([types.index(defect.type) for defect in example.defects])
    return np.where(covered.max(0) > 0, numbers[covered.argmax(0)], -1)


def coverage(example: Example, size: tuple[int, int]) -> Floats:
    """How much of each token each defect covers, `(defects, T)`."""
    sides = []
    for axis, factor in enumerate(scale(example, size)):
        edges = np.asarray([(d.box[axis], d.box[axis + 2]) for d in example.defects]).reshape(-1, 2, 1)
        low, high = edges[:, 0] * factor / TOKEN_SIZE, edges[:, 1] * factor / TOKEN_SIZE
        places = np.arange(size[axis] // TOKEN_SIZE)
        sides.append(np.clip(np.minimum(high, places + 1) - np.maximum(low, places), 0, None))
    columns, rows = sides
    covered = rows[:, :, None] * columns[:, None, :]
    return np.asarray(covered, np.float32).reshape(len(rows), rows.shape[1] * columns.shape[1])


def token_centres(size: tuple[int, int]) -> Floats:
    """Of every image token of a picture of `size`, x and y in tokens, `(T, 2)`."""
    x, y = np.meshgrid(np.arange(size[0] // TOKEN_SIZE), np.arange(size[1] // TOKEN_SIZE))
    return np.asarray(np.stack([x.ravel(), y.ravel()], -1) + 0.5, np.float32)


def scale(example: Example, size: tuple[int, int]) -> tuple[float, float]:
    """Of x and y, from the example's picture to one of `size`."""
    return size[0] / example.picture.shape[1], size[1] / example.picture.shape[0]


def resized(picture: Picture, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """To `(width, height)`, as mistral-common scales."""
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_CUBIC), np.uint8)
