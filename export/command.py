"""`lineside export`: progress on a terminal, log lines otherwise, errors as one sentence."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lineside.export.bundle.choices import Choices, to_options
from lineside.export.bundle.filling import Progress as Report
from lineside.export.bundle.writer import export_bundle
from lineside.export.errors import ExportError
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.export")
LOG_EVERY_S = 10.0


def export_command(checkpoint: Path, bundle: Path, adapter: Path | None, choices: Choices) -> int:
    """Returns the exit code."""
    try:
        options = to_options(choices)
        with reporting() as report:
            export_bundle(checkpoint, bundle, options, adapter=adapter, progress=report)
    except (ExportError, EngineError, OSError, MemoryError, KeyboardInterrupt) as error:
        return failed(error)
    sys.stdout.write(f"{bundle} is ready: try `lineside check {bundle}`\n")
    return 0


def failed(error: BaseException) -> int:
    """Says in one line what went wrong; returns the exit code."""
    match error:
        case KeyboardInterrupt():
            said, code = "broken off: the same command goes on from here", 130
        case MemoryError():
            said, code = "the memory is full: stop other programs and give the same command again", 1
        case OSError():
            said, code = f"{error.filename or 'a file'}: {error.strerror or error}", 1
        case _:
            said, code = str(error), 1
    sys.stderr.write(f"lineside: {said}\n")
    return code


@contextmanager
def reporting(unit: Literal["bytes", "steps"] = "bytes") -> Iterator[Report]:
    """What long work calls with a name, how much is done, and of how much."""
    if sys.stderr.isatty():
        amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = (TextColumn("{task.description:<48}"), BarColumn(), amount, TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=None)
            yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
        return
    last = time.monotonic()

    def report(name: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_EVERY_S or done == total:
            last = time.monotonic()
            size = f"{total / 1e6:.1f} MB" if unit == "bytes" else f"{total} steps"
            log.info("%s: %.0f%% of %s", name, 100 * done / max(total, 1), size)

    yield report
