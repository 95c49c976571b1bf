"""`lineside pull`: a model of the Hugging Face hub, by its name, becomes a bundle."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS, with_outer
from lineside.export.command import failed, reporting
from lineside.export.errors import ExportError
from lineside.export.graph.kv import KVDtype
from lineside.export.graph.weights import Precision
from lineside.export.pull.wanted import parse
from lineside.runtime.errors import EngineError
from lineside.runtime.taught_file import Declaration, read_taught


def pull_command(
    name: str,
    bundle: Path | None,
    precision: str,
    kv_dtype: KVDtype = "float32",
    *,
    embedding: Precision | None = None,
    head: Precision | None = None,
    keep: bool = False,
    verbatim_arguments: bool = False,
    any_way_up: bool = False,
    taught: Path | None = None,
) -> int:
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
        declaration = Declaration() if taught is None else read_taught(taught)
        precisions = with_outer(PRECISIONS[precision], embedding, head)
        options = ExportOptions(precisions, kv_dtype, verbatim_arguments, any_way_up, declaration)
        with reporting() as report:
            tested = pull(wanted, target, options, report, keep=keep)
    except (ExportError, EngineError, OSError, MemoryError, KeyboardInterrupt) as error:
        return failed(error)
    if not tested:
        sys.stdout.write(f"too large for a self-test here: `lineside check {target}` on the station\n")
    sys.stdout.write(f'{target} is ready. In the station file:\n\n[model]\nbundle = "{target}"\n')
    return 0
