"""What happens to a camera: its light, its lens, its mount."""

from __future__ import annotations

import cv2
import numpy as np

from lineside.runtime.chat import Picture


def lit(picture: Picture, share: float) -> Picture:
    return np.asarray(np.clip(picture.astype(np.float32) * share, 0, 255), np.uint8)


def blurred(picture: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def moved(picture: Picture, right: float, down: float) -> Picture:
    size = (picture.shape[1], picture.shape[0])
    by = np.asarray([[1, 0, right], [0, 1, down]], np.float32)
    return np.asarray(cv2.warpAffine(picture, by, size, borderMode=cv2.BORDER_REFLECT), np.uint8)


def compressed(picture: Picture, quality: int) -> Picture:
    """As a JPEG of that quality shows it."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
