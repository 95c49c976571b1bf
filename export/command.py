"""`lineside export`: progress on a terminal, log lines otherwise, errors as one sentence."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from export.bundle_writer import PRECISIONS, export_bundle
from export.bundle_writer import Progress as Report
from export.errors import ExportError
from export.graph.kv import KVDtype
from runtime.errors import EngineError

log = logging.getLogger("lineside.export")
LOG_EVERY_S = 10.0


def export_command(checkpoint: Path, bundle: Path, precision: str, kv_dtype: KVDtype = "float32") -> int:
    """Returns the exit code."""
    try:
        with _progress() as report:
            export_bundle(checkpoint, bundle, precisions=PRECISIONS[precision], kv_dtype=kv_dtype, progress=report)
    except (ExportError, EngineError) as error:
        sys.stderr.write(f"lineside: {error}\n")
        return 1
    sys.stdout.write(f"{bundle} is ready: try `lineside check {bundle}`\n")
    return 0


@contextmanager
def _progress() -> Iterator[Report]:
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description:<48}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task("", total=None)
            yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
        return
    last = time.monotonic()

    def report(name: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_EVERY_S or done == total:
            last = time.monotonic()
            log.info("%s: %.0f%% of %.1f MB", name, 100 * done / total, total / 1e6)

    yield report
