"""`make bench`: Lineside against llama.cpp and onnxruntime-genai, on the same weights, threads and machine, turn about.

Each row is written to `build/bench/rows.json` when it is measured, so that a run may be broken off: the next one goes
on from there, and measures what is missing or stale (`tests.benchmarks.results` says what that is). `--rows` measures
some rows alone, whether there or not. `BENCHMARKS.md` is written when every row counts; until then, those that do stand
in `build/bench/partial.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.benchmarks.models import FOLDER, Engines, console, file_digest
from tests.benchmarks.report import write_report
from tests.benchmarks.results import Results, Stamp, code_digest, processor, versions
from tests.benchmarks.rows import ALL_ENGINES, ROWS, Row, selected
from tests.benchmarks.smollm import gguf_path

INTERRUPTED = 130
REPORT, PARTIAL = Path("BENCHMARKS.md"), FOLDER / "partial.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="rows, or groups of rows, to measure alone")
    options = parser.parse_args()
    try:
        wanted = selected(ROWS, options.rows) if options.rows else ROWS
    except ValueError as error:
        parser.error(str(error))
    stamps = stamps_of(ROWS, options.threads)
    results = Results(FOLDER / "rows.json")
    try:
        failed = measure(wanted, stamps, results, Engines(options.threads), again=bool(options.rows))
    except KeyboardInterrupt:
        console.log("broken off: what was measured is kept, and the next run goes on from there")
        return INTERRUPTED
    finally:
        console.log(f"written: {report(stamps, results, REPORT, PARTIAL)}")
    return 1 if failed else 0


def stamps_of(rows: Sequence[Row], threads: int) -> dict[str, Stamp]:
    """What each row would be measured with now."""
    code, cpu = code_digest(), processor()
    return {
        row.name: {
            "cpu": cpu,
            "threads": threads,
            "versions": {"python": platform.python_version(), **versions(row.packages)},
            "model": model_digest(row.model),
            "code": code,
        }
        for row in rows
    }


@cache
def model_digest(model: str) -> str:
    """Of the file that says, or holds, what the model is."""
    if model == "default":
        return file_digest(DEFAULT_BUNDLE / "bundle.json")
    try:
        return file_digest(gguf_path())
    except ModuleNotFoundError:
        return "missing"


def measure(
    rows: Sequence[Row], stamps: dict[str, Stamp], results: Results, engines: Engines, *, again: bool
) -> list[str]:
    """Measure what is missing or stale, or all with `again`; returns the names of the rows that failed."""
    failed = []
    for number, row in enumerate(rows, 1):
        counted = f"[{number}/{len(rows)}] {row.name}"
        changed = results.changed(row.name, stamps[row.name])
        if changed == [] and not again:
            console.log(f"{counted}: kept from an earlier run", markup=False)
            continue
        why = f" (stale: another {', '.join(changed)})" if changed else ""
        console.log(f"{counted} ...{why}", markup=False)
        started = time.perf_counter()
        try:
            value = row.measure(engines)
        except Exception as error:  # noqa: BLE001  # the other rows can be measured all the same
            failed.append(row.name)
            console.log(f"{counted}: FAILED, {type(error).__name__}: {error}", markup=False)
            continue
        results.put(row.name, stamps[row.name], value)
        console.log(f"{counted}: {time.perf_counter() - started:.0f} s", markup=False)
    return failed


def report(stamps: dict[str, Stamp], results: Results, whole: Path, partial: Path) -> Path:
    """Write `whole` where every row counts, else those that do to `partial`; returns which."""
    there = {name: results.value(name) for name, stamp in stamps.items() if results.changed(name, stamp) == []}
    first = next(iter(stamps.values()))
    machine = {"cpu": first["cpu"], "threads": first["threads"], "versions": versions(ALL_ENGINES)}
    missing = [name for name in stamps if name not in there]
    path = partial if missing else whole
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(machine, there, missing, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
