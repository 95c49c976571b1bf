"""The bundle's self-test: what the finished graphs computed on the exporting machine, for the target to reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import ParityError
from runtime.bundle import Bundle, ImageSettings, Manifest
from runtime.selftest import GOLDEN_FILE, STEPS, run_selftest_inputs

SEED = 20260601
PICTURE_PATCHES = (2, 3)
PROMPT_LENGTH = 24


def write_golden(folder: Path, manifest: Manifest) -> None:
    """Run both graphs on seeded inputs and store inputs and outputs in `golden.npz`.

    Raises:
        ParityError: an output is not finite.
    """
    rng = np.random.default_rng(SEED)
    pixels, images = np.zeros((3, 0, 0), np.float32), 0
    if manifest.image is not None:
        pixels, images = noise_picture(manifest.image, rng)
    text = rng.integers(3, manifest.vocab_size, size=PROMPT_LENGTH)
    text[text == manifest.image_token_id] += 1
    ids = np.concatenate([text, np.full(images, manifest.image_token_id), text[::-1]]).astype(np.int64)
    steps = rng.integers(100, manifest.vocab_size, size=STEPS).astype(np.int64)
    outputs = run_selftest_inputs(Bundle(folder, manifest, ""), pixels, ids, steps)
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ParityError(f"the exported graphs compute numbers that are not finite ({name}): damaged checkpoint?")
    arrays: dict[str, Any] = {"pixels": pixels, "ids": ids, "steps": steps, **outputs}
    np.savez_compressed(folder / GOLDEN_FILE, **arrays)


def noise_picture(image: ImageSettings, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], int]:
    """Normalized pixels `(3, H, W)` of a small picture, and how many [IMG] tokens stand for it."""
    rows, columns = (image.spatial_merge_size * image.patch_size * n for n in PICTURE_PATCHES)
    return rng.normal(size=(3, rows, columns)).astype(np.float32), PICTURE_PATCHES[0] * PICTURE_PATCHES[1]
