"""The golden self-test: run before a bundle goes live, on the machine and with the sessions that will serve it.

`golden.npz` holds what the bundle's graphs computed on a CPU, which rounds activations to 8 bits, and under names that
begin with `EXACT` what they compute with activations as they are, as every GPU does.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineside.runtime.bundle import Bundle
from lineside.runtime.errors import DeviceUnusable, SelfTestFailed
from lineside.runtime.sessions.interface import Decoder, OpenSessions, Vision
from lineside.runtime.sessions.ort import open_cpu

log = logging.getLogger("lineside.selftest")
Arrays = Mapping[str, npt.NDArray[np.float32]]
GOLDEN_FILE = "golden.npz"
STEPS = 4
TOLERANCE, MOST_TOLERANCE = 0.05, 0.5
"""Relative error (L2) that another processor's kernels may show: 8-bit activations round at different places, which may
make as much of a difference as rounding them does at all; nonsense is off by 1."""
EXACT = "exact."
EXACT_TOLERANCE = 0.1
"""Of a GPU, which adds up in float16; float16 itself costs 0.018 on the default model, and nonsense is off by 1."""
ROUNDED_TOLERANCE = 0.25
"""Of a GPU from a CPU's 8-bit activations, where a bundle has no exact outputs: 0.09 on the default model of version 3,
and 0.19 in its worst step."""


@dataclass(frozen=True)
class SelfTestReport:
    """Relative L2 error of each output: image embeddings, prefill logits, and the decode steps' logits."""

    errors: dict[str, float]


def run_selftest_inputs(
    bundle: Bundle, inputs: Mapping[str, npt.NDArray[np.generic]], vision: Vision | None, decoder: Decoder,
    capacity: int = 0,
) -> dict[str, npt.NDArray[np.float32]]:  # fmt: skip
    """One picture (where the model takes any), one prefill in two chunks, a few decode steps.

    Args:
        inputs: `pixels` (3, H, W) float32, `ids` (T,) and `steps` (S,) int64.
        capacity: of the cache, in tokens; just what is needed where left out.

    Returns:
        `image_embeds` (I, hidden), `prefill_logits` (vocab,) and `decode_logits` (S, vocab).
    """
    ids, steps = (np.asarray(inputs[name], np.int64) for name in ("ids", "steps"))
    embeds = vision.embed(np.asarray(inputs["pixels"], np.float32)) if vision else None
    cache = decoder.allocate(capacity or len(ids) + len(steps))
    cut = len(ids) // 2
    before = int((ids[:cut] == bundle.manifest.image_token_id).sum())
    decoder.prefill(cache, ids[:cut], 0, embeds[:before] if embeds is not None else None)
    prefill = decoder.prefill(cache, ids[cut:], cut, embeds[before:] if embeds is not None else None)[0].copy()
    decoded = [decoder.decode(cache, [int(token)], len(ids) + i)[0].copy() for i, token in enumerate(steps)]
    outputs = {"prefill_logits": prefill, "decode_logits": np.stack(decoded)}
    return outputs if embeds is None else {"image_embeds": embeds, **outputs}


def self_test(bundle: Bundle, sessions: OpenSessions = open_cpu) -> SelfTestReport:
    """`check_sessions` with those that `sessions` opens."""
    return check_sessions(bundle, *sessions(bundle))


def check_sessions(bundle: Bundle, vision: Vision | None, decoder: Decoder) -> SelfTestReport:
    """Reproduce `golden.npz`, with each length of the cache that the decoder has; the worst of them is reported.

    Raises:
        SelfTestFailed: the file cannot be used, or on a CPU an output is not finite or too far from the stored one.
        DeviceUnusable: the same on a GPU, where it is not the bundle that is to blame.
    """
    stored = _read(bundle)
    wanted, tolerances = _wanted(stored, exact=decoder.exact)
    errors = dict.fromkeys(wanted, 0.0)
    for capacity in _capacities(decoder, len(stored["ids"]) + len(stored["steps"])):
        for name, array in run_selftest_inputs(bundle, stored, vision, decoder, capacity).items():
            if name not in wanted or array.shape != wanted[name].shape:
                raise _unusable(bundle, f"{name} is missing, or of another shape")
            errors[name] = float(np.maximum(errors[name], relative_error(array, wanted[name])))  # NaN stays
    log.info("self-test of %s: %s", bundle.path, ", ".join(f"{name} is off by {e:.2g}" for name, e in errors.items()))
    for name, distance in errors.items():
        if not distance <= tolerances[name]:  # NaN fails too
            off = f"{name} is off by {distance:.3g} (allowed {tolerances[name]:.3g})"
            if decoder.exact:
                raise DeviceUnusable(f"the device does not reproduce the bundle's self-test: {off}")
            raise SelfTestFailed(f"{bundle.path}: {off}: export anew")
    return SelfTestReport(errors)


def relative_error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """L2 norm of the difference over the L2 norm of what was expected."""
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12))


def _read(bundle: Bundle) -> Arrays:
    try:
        with np.load(bundle.file(GOLDEN_FILE), allow_pickle=False) as golden:
            arrays = {name: golden[name] for name in golden.files}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise _unusable(bundle, str(error)) from error
    missing = [name for name in ("pixels", "ids", "steps") if name not in arrays]
    if missing:
        raise _unusable(bundle, f"{missing[0]} is missing")
    return arrays


def _unusable(bundle: Bundle, reason: str) -> SelfTestFailed:
    return SelfTestFailed(f"{bundle.file(GOLDEN_FILE)} cannot be used ({reason}): copy the bundle again")


def _wanted(stored: Arrays, *, exact: bool) -> tuple[Arrays, dict[str, float]]:
    """The outputs to reproduce, and how far off each may be. The tower never rounds: its output serves both."""
    names = ("image_embeds", "prefill_logits", "decode_logits")
    rounded = {name: stored[name] for name in names if name in stored}
    if exact and all(f"{EXACT}{name}" not in stored for name in names):  # a bundle of an earlier version
        return rounded, dict.fromkeys(rounded, ROUNDED_TOLERANCE)
    exactly = {name: stored.get(EXACT + name, array).astype(np.float32) for name, array in rounded.items()}
    if exact:
        return exactly, dict.fromkeys(exactly, EXACT_TOLERANCE)
    differences = {name: _distance(array, exactly[name]) for name, array in rounded.items()}
    return rounded, {name: float(np.clip(each, TOLERANCE, MOST_TOLERANCE)) for name, each in differences.items()}


def _distance(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return relative_error(found, expected) if found.shape == expected.shape else 0.0


def _capacities(decoder: Decoder, tokens: int) -> tuple[int, ...]:
    """Raises DeviceUnusable where every cache is too short."""
    if not decoder.cache_lengths:
        return (tokens,)
    fitting = tuple(n for n in decoder.cache_lengths if n >= tokens)
    if not fitting:
        longest = max(decoder.cache_lengths)
        raise DeviceUnusable(f"caches of {longest} tokens are too short for the self-test, which takes {tokens}")
    return fitting
