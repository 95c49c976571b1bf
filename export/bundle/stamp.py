"""What a broken-off export must have in common with the one that goes on from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from lineside import __version__
from lineside.export.bundle.options import MAX_KL, ExportOptions
from lineside.export.bundle.plan import Planned
from lineside.runtime.bundle import file_sha256
from lineside.runtime.manifest import FORMAT_VERSION

ROOMS: tuple[str, ...] = ("", "bundle", "calibration", "checkpoint", "graph", "network", "quantize")
"""Of `export`, itself among them: their code and texts decide what stands in a weight file, and where."""


def stamp(planned: Planned, options: ExportOptions, tokenizer: Path) -> str:
    """SHA-256 over the checkpoint's files, its configuration and tokenizer, the options and the code.

    Whoever lets a bundle pass that was too coarse goes on with what is there.
    """
    chosen = replace(options, max_kl=MAX_KL)
    named = [FORMAT_VERSION, __version__, file_sha256(tokenizer), _code()]
    parts = [planned.checkpoint.stamp(), repr(planned.network), repr(chosen), *named]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _code() -> str:
    """A version alone would not do: a checkout changes without one."""
    export = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for room in ROOMS for kind in ("*.py", "*.txt") for path in (export / room).glob(kind)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
