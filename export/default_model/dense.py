"""What each patch and each image token should know of the defects: targets of the tower's and the joint stage."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from export.default_model.ballscrew import Example
from export.default_model.size import MERGE, PATCH_SIZE, TOKEN_SIZE
from runtime.chat import Picture

CELLS = MERGE * MERGE
"""Patches of an image token."""


def dense_targets(
    example: Example, size: tuple[int, int], types: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What each image token should know of the defects.

    Returns:
        maps `(T, CELLS * types)`: 1 where a patch of the token touches a defect of the type.
        boxes `(T, 4)`: edges of the defect that covers most of the token, from its centre, in tokens; NaN for none.
    """
    width, height = size
    sy, sx = height / example.picture.shape[0], width / example.picture.shape[1]
    rows, columns = height // PATCH_SIZE, width // PATCH_SIZE
    cells = np.zeros((rows, columns, len(types)), np.float32)
    boxes = np.full((rows // MERGE, columns // MERGE, 4), np.nan, np.float32)
    best = np.zeros(boxes.shape[:2])
    for defect in example.defects:
        x0, y0, x1, y1 = (v * s for v, s in zip(defect.box, (sx, sy, sx, sy), strict=True))
        left, right = int(x0 / PATCH_SIZE + 0.2), int(np.ceil(x1 / PATCH_SIZE - 0.2))
        top, bottom = int(y0 / PATCH_SIZE + 0.2), int(np.ceil(y1 / PATCH_SIZE - 0.2))
        cells[top : max(bottom, top + 1), left : max(right, left + 1), types.index(defect.type)] = 1.0
        for row in range(int(y0 // TOKEN_SIZE), min(int(y1 // TOKEN_SIZE) + 1, boxes.shape[0])):
            for column in range(int(x0 // TOKEN_SIZE), min(int(x1 // TOKEN_SIZE) + 1, boxes.shape[1])):
                tx, ty = column * TOKEN_SIZE, row * TOKEN_SIZE
                covered = (min(x1, tx + TOKEN_SIZE) - max(x0, tx)) * (min(y1, ty + TOKEN_SIZE) - max(y0, ty))
                if covered > best[row, column]:
                    best[row, column] = covered
                    centre = np.asarray([tx, ty, tx, ty]) + TOKEN_SIZE / 2
                    boxes[row, column] = (np.asarray([x0, y0, x1, y1]) - centre) / TOKEN_SIZE
    merged = cells.reshape(rows // MERGE, MERGE, columns // MERGE, MERGE, -1).transpose(0, 2, 1, 3, 4)
    return merged.reshape(-1, CELLS * len(types)), boxes.reshape(-1, 4)


def resized(picture: Picture, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """To `(width, height)`, as mistral-common scales."""
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_CUBIC), np.uint8)
