"""What a gate sees with: a frozen network that describes each patch of a picture, and a search for the nearest."""

from __future__ import annotations

import hashlib
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Picture
from lineside.runtime.defaults import GATE_GRAPHS
from lineside.runtime.sessions.ort import failed, load_graph

Floats = npt.NDArray[np.float32]
PATCH = 16
"""Pixels of a patch's side."""
LONGER, SHORTER = 384, 240
"""Pixels of a picture's sides as the network sees it: the longer one has so many, or more where a picture is so wide
or high that its shorter one would have less than that."""
MOST_PIXELS = 384 * 384
FEATURES, NEAREST = "features.onnx", "nearest.onnx"


class PatchFeatures:
    """EfficientNet-Lite0's features, on the CPU, whatever the model of the station runs on.

    Args:
        threads: 0 means as many as the process may use.

    Raises BundleDamaged where the graphs, which ship in the package, cannot be loaded.
    """

    def __init__(self, threads: int = 0) -> None:
        self._features = load_graph(GATE_GRAPHS / FEATURES, threads)
        self._nearest = load_graph(GATE_GRAPHS / NEAREST, threads)

    @cached_property
    def sha256(self) -> str:
        """Of the network: what was learnt with another one cannot be compared."""
        return hashlib.sha256((GATE_GRAPHS / FEATURES).read_bytes()).hexdigest()

    def describe(self, picture: Picture) -> Floats:
        """Every patch: `(rows, columns, 152)`."""
        pixels = cv2.resize(picture, seen_size(picture), interpolation=cv2.INTER_AREA)
        try:
            found = self._features.run(["patches"], {"pixels": np.ascontiguousarray(pixels)[None]})
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types
            raise failed(error) from error
        return np.asarray(found[0], np.float32)

    def distances(self, patches: Floats, memory: Floats, squares: Floats) -> Floats:
        """Of every patch `(..., 152)` to the nearest of `memory` `(M, 152)` with squared lengths `squares` `(M,)`."""
        flat = np.ascontiguousarray(patches.reshape(-1, patches.shape[-1]))
        try:
            found = self._nearest.run(["nearest"], {"patches": flat, "memory": memory, "squares": squares})
        except Exception as error:  # as in `describe`
            raise failed(error) from error
        squared = np.asarray(found[0], np.float32) + np.square(flat).sum(1)
        return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32).reshape(patches.shape[:-1])


def seen_size(picture: Picture) -> tuple[int, int]:
    """Width and height at which the network sees it: whole patches, no larger than the picture itself."""
    height, width = picture.shape[:2]
    wanted = max(LONGER / max(height, width), SHORTER / min(height, width))
    scale = min(wanted, (MOST_PIXELS / (height * width)) ** 0.5, 1.0)
    return max(round(width * scale / PATCH), 1) * PATCH, max(round(height * scale / PATCH), 1) * PATCH
