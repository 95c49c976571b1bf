"""The golden self-test: run before a bundle goes live, on the machine and with the sessions that will serve it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.bundle import Bundle
from runtime.errors import SelfTestFailed
from runtime.ort_session import open_cpu
from runtime.session import OpenSessions

GOLDEN_FILE = "golden.npz"
STEPS = 4
TOLERANCE = 0.05
"""Relative error (L2) that another processor's kernels may show: 8-bit activations round at different places."""


@dataclass(frozen=True)
class SelfTestReport:
    """Relative L2 error of each output: image embeddings, prefill logits, and the decode steps' logits."""

    errors: dict[str, float]


def run_selftest_inputs(
    bundle: Bundle,
    pixels: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    sessions: OpenSessions = open_cpu,
) -> dict[str, npt.NDArray[np.float32]]:
    """One picture (where the model takes any), one prefill in two chunks, a few decode steps."""
    vision, decoder = sessions(bundle)
    embeds = vision.embed(pixels) if vision else None
    cache = decoder.allocate(min(decoder.cache_lengths, default=len(ids) + len(steps)))
    cut = len(ids) // 2
    before = int((ids[:cut] == bundle.manifest.image_token_id).sum())
    decoder.prefill(cache, ids[:cut], 0, embeds[:before] if embeds is not None else None)
    prefill = decoder.prefill(cache, ids[cut:], cut, embeds[before:] if embeds is not None else None)[0].copy()
    decoded = [decoder.decode(cache, [int(token)], len(ids) + i)[0].copy() for i, token in enumerate(steps)]
    outputs = {"prefill_logits": prefill, "decode_logits": np.stack(decoded)}
    return outputs if embeds is None else {"image_embeds": embeds, **outputs}


def self_test(bundle: Bundle, sessions: OpenSessions = open_cpu) -> SelfTestReport:
    """Reproduce `golden.npz` with the sessions that `sessions` opens.

    Raises:
        SelfTestFailed: an output is not finite or further than `TOLERANCE` from the stored one.
    """
    path = bundle.file(GOLDEN_FILE)
    try:
        with np.load(path, allow_pickle=False) as golden:
            stored = {name: golden[name] for name in golden.files}
        outputs = run_selftest_inputs(bundle, stored["pixels"], stored["ids"], stored["steps"], sessions)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SelfTestFailed(f"{path} cannot be used ({error}): copy the bundle again") from error
    errors = {name: relative_error(array, stored[name]) for name, array in outputs.items()}
    for name, distance in errors.items():
        if not distance <= TOLERANCE:  # NaN fails too
            raise SelfTestFailed(f"{bundle.path}: {name} is off by {distance:.3g} (allowed {TOLERANCE}): export anew")
    return SelfTestReport(errors)


def relative_error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """L2 norm of the difference over the L2 norm of what was expected."""
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12))
