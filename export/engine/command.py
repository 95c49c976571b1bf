"""`lineside engine`: progress on a terminal, log lines otherwise, errors as one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lineside.export.command import reporting
from lineside.export.engine.engines import build_engines
from lineside.export.errors import ExportError
from lineside.runtime.errors import EngineError


def engine_command(bundle: Path, target: str, cache_lengths: Sequence[int], present: str, gpu: str = "") -> int:
    """Returns the exit code. `present` is this machine's GPU, such as `sm89`, or nothing; `gpu` is its name."""
    machine = {"present": present, "gpu": gpu}
    try:
        with reporting(unit="steps") as report:
            folder = build_engines(bundle, target, cache_lengths=cache_lengths, progress=report, **machine)
    except (ExportError, EngineError) as error:
        sys.stderr.write(f"lineside: {error}\n")
        return 1
    sys.stdout.write(f"{folder}: engines for {target}\n")
    return 0
