"""How near the finished graphs are to the float model: a bundle that is too far from it is not published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.calibrate import Measured
from lineside.export.bundle.golden import image_embeds
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.pieces import decoder_pass, empty_caches, run_in_pieces
from lineside.export.errors import ParityError, TooCoarse
from lineside.runtime.agreement.tokens import TokenAgreement, TokenMeter
from lineside.runtime.errors import NotFinite
from lineside.runtime.manifest import Manifest
from lineside.runtime.sessions.ort import CPU_GRAPH

STEP_TOKENS = 16
"""Of a pass that reads what the cache has kept of those before it, as decoding does."""


def measure(folder: Path, manifest: Manifest, measured: Measured) -> TokenAgreement:
    """Run the CPU's graphs in `folder` on what the float model has read, in the memory of a piece.

    Raises ParityError where they compute numbers that are not finite.
    """
    reading = measured.reading
    embeds = None if reading.pixels is None else image_embeds(folder, manifest, reading.pixels)
    passes = [
        decoder_pass(manifest, reading.ids[start:end], start, None if start else embeds)
        | {"rows": np.arange(max(reading.text_start - start, 0), end - start)}
        for start, end in _cuts(reading.text_start, len(reading.ids), manifest.kv.dtype)
    ]
    found = run_in_pieces(folder / CPU_GRAPH, passes, empty_caches(manifest, len(reading.ids)))
    logits: npt.NDArray[np.float32] = np.concatenate([np.asarray(one["logits"], np.float32) for one in found])
    meter = TokenMeter()
    try:
        meter.add(measured.logits, logits[:-1], reading.ids[reading.text_start + 1 :])
    except NotFinite as error:
        raise ParityError("the exported graphs compute numbers that are not finite: damaged checkpoint?") from error
    return meter.result()


def _cuts(text_start: int, length: int, kv_dtype: str) -> Iterator[tuple[int, int]]:
    """One pass; with a rounded cache, half of the text is read in steps, which see it."""
    middle = length if kv_dtype == "float32" else text_start + (length - text_start) // 2
    yield 0, middle
    for start in range(middle, length, STEP_TOKENS):
        yield start, min(start + STEP_TOKENS, length)


def check(agreement: TokenAgreement, options: ExportOptions, partial: Path) -> None:
    """Raises TooCoarse, with what would help."""
    if agreement.kl <= options.max_kl:
        return
    found = (
        f"{agreement.kl:.3f} nats a token from the float model, more than {options.max_kl:g} (0.1 is little, 1 a lot)"
    )
    passing = f"with a higher `--max-kl` the same command takes what lies in {partial}"
    raise TooCoarse(f"the bundle is {found}: try {', '.join(_finer(options))}; {passing}")


def _finer(options: ExportOptions) -> Iterator[str]:
    """Options that are not chosen yet, the most helpful first."""
    precisions = options.precisions
    if precisions.method in ("nearest", "hqq"):
        yield "`--quantizer gptq`"
    if "int4" in (precisions.embedding, precisions.head):
        yield "`--embedding int8 --head int8`"
    if options.kv_dtype == "int8":
        yield "`--kv-cache float32`"
    if precisions.sensitive == "int4":
        yield "`--sensitive int8`"
    if precisions.target == "any":
        yield "`--target cpu` where a CPU is all that it will run on"
    yield "a larger model"
