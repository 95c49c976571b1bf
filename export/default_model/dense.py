"""What each patch and each image token should know of the defects: targets for its training."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from export.default_model.ballscrew import Example
from export.default_model.size import MERGE, PATCH_SIZE, TOKEN_SIZE
from runtime.chat import Picture

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
    sx, sy = scale(example, size)
    boxes = np.full((size[1] // TOKEN_SIZE, size[0] // TOKEN_SIZE, 4), np.nan, np.float32)
    best = np.zeros(boxes.shape[:2])
    for defect in example.defects:
        x0, y0, x1, y1 = (v * s for v, s in zip(defect.box, (sx, sy, sx, sy), strict=True))
        for row in range(int(y0 // TOKEN_SIZE), min(int(y1 // TOKEN_SIZE) + 1, boxes.shape[0])):
            for column in range(int(x0 // TOKEN_SIZE), min(int(x1 // TOKEN_SIZE) + 1, boxes.shape[1])):
                tx, ty = column * TOKEN_SIZE, row * TOKEN_SIZE
                covered = (min(x1, tx + TOKEN_SIZE) - max(x0, tx)) * (min(y1, ty + TOKEN_SIZE) - max(y0, ty))
                if covered > best[row, column]:
                    best[row, column] = covered
                    centre = np.asarray([tx, ty, tx, ty]) + TOKEN_SIZE / 2
                    boxes[row, column] = (np.asarray([x0, y0, x1, y1]) - centre) / TOKEN_SIZE
    return boxes.reshape(-1, 4)


def scale(example: Example, size: tuple[int, int]) -> tuple[float, float]:
    """Of x and y, from the example's picture to one of `size`."""
    return size[0] / example.picture.shape[1], size[1] / example.picture.shape[0]


def resized(picture: Picture, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """To `(width, height)`, as mistral-common scales."""
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_CUBIC), np.uint8)
