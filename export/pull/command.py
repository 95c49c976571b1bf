"""`lineside pull`: a model of the Hugging Face hub, by its name, becomes a bundle."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from lineside.export.bundle.choices import Choices, to_options
from lineside.export.command import failed, reporting
from lineside.export.errors import ExportError
from lineside.export.pull.wanted import parse
from lineside.runtime.errors import EngineError


def pull_command(name: str, bundle: Path | None, choices: Choices, *, keep: bool = False) -> int:
    """Returns the exit code. The bundle is named after the model where `bundle` is left out."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log addresses that open a gated file to anyone
    try:
        from lineside.export.pull.pulling import pull
    except ImportError as error:
        sys.stderr.write(f"lineside: pulling needs the hub extra ({error}): pip install 'lineside[hub]'\n")
        return 1
    try:
        wanted = parse(name)
        target = bundle or Path(Path(wanted.file).stem or wanted.repo.partition("/")[2])
        options = to_options(choices)
        with reporting() as report:
            tested = pull(wanted, target, options, report, keep=keep)
    except (ExportError, EngineError, OSError, MemoryError, KeyboardInterrupt) as error:
        return failed(error)
    if not tested:
        sys.stdout.write(f"too large for a self-test here: `lineside check {target}` on the station\n")
    sys.stdout.write(f'{target} is ready. In the station file:\n\n[model]\nbundle = "{target}"\n')
    return 0
