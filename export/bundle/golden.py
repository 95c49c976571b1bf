"""The bundle's self-test: what the finished graphs computed on the exporting machine, for the target to reproduce.

A CPU's kernels round activations to 8 bits, a GPU's do not, and the two differ by more than a wrong kernel may: logits
with exact activations are stored too, in float16, which is as exact as a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.pieces import decoder_pass, empty_caches, run_in_pieces
from lineside.export.errors import ParityError
from lineside.runtime.manifest import ImageSettings, Manifest
from lineside.runtime.patches import to_patches
from lineside.runtime.sessions.ort import CPU_GRAPH
from lineside.runtime.sessions.selftest import EXACT, GOLDEN_FILE, STEPS

SEED = 20260601
PICTURE_PATCHES = (2, 3)
PROMPT_LENGTH = 24


def write_golden(folder: Path, manifest: Manifest, exact_graph: str = CPU_GRAPH) -> None:
    """Run both graphs on seeded inputs and store inputs and outputs in `golden.npz`.

    Args:
        exact_graph: name of the decoder's graph with exact activations; that of the decoder itself where it has them.

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
    arrays: dict[str, Any] = {"pixels": pixels, "ids": ids, "steps": steps}
    embeds = image_embeds(folder, manifest, pixels)
    outputs = _run(folder, manifest, arrays, embeds, CPU_GRAPH)
    exact = outputs if exact_graph == CPU_GRAPH else _run(folder, manifest, arrays, embeds, exact_graph)
    exact_logits = {EXACT + name: array.astype(np.float16) for name, array in exact.items() if name != "image_embeds"}
    arrays |= outputs | exact_logits
    np.savez_compressed(folder / GOLDEN_FILE, **arrays)


def _run(
    folder: Path, manifest: Manifest, inputs: dict[str, Any], embeds: npt.NDArray[np.float32] | None, graph: str
) -> dict[str, npt.NDArray[np.float32]]:
    """What `run_selftest_inputs` gives with sessions that hold the whole model."""
    ids, steps = inputs["ids"], inputs["steps"]
    cut = len(ids) // 2
    before = int((ids[:cut] == manifest.image_token_id).sum())
    first, second = (None, None) if embeds is None else (embeds[:before], embeds[before:])
    passes = [decoder_pass(manifest, ids[:cut], 0, first), decoder_pass(manifest, ids[cut:], cut, second)]
    passes += [decoder_pass(manifest, steps[i : i + 1], len(ids) + i) for i in range(len(steps))]
    _, prefill, *decoded = run_in_pieces(folder / graph, passes, empty_caches(manifest, len(ids) + len(steps)))
    logits = np.concatenate([found["logits"] for found in decoded]).astype(np.float32)
    outputs = {"prefill_logits": np.asarray(prefill["logits"][0], np.float32), "decode_logits": logits}
    outputs = outputs if embeds is None else {"image_embeds": embeds, **outputs}
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ParityError(f"the exported graphs compute numbers that are not finite ({name}): damaged checkpoint?")
    return outputs


def image_embeds(folder: Path, manifest: Manifest, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """`(I, hidden)` of a picture; None for a model without a tower."""
    if manifest.image is None:
        return None
    patches, positions = to_patches(pixels, manifest.image)
    (found,) = run_in_pieces(folder / "vision.onnx", [{"patches": patches, "positions": positions}])
    return np.asarray(found["image_embeds"], np.float32)


def noise_picture(image: ImageSettings, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], int]:
    """Normalized pixels `(3, H, W)` of a small picture, and how many [IMG] tokens stand for it."""
    rows, columns = (image.spatial_merge_size * image.patch_size * n for n in PICTURE_PATCHES)
    return rng.normal(size=(3, rows, columns)).astype(np.float32), PICTURE_PATCHES[0] * PICTURE_PATCHES[1]
