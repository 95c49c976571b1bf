"""Sections of BENCHMARKS.md that `make chaos` and others write, and `make bench` leaves as they are."""

from __future__ import annotations

from pathlib import Path

CHAOS, GROUP, OUTPUTS = "make chaos", "python -m tests.benchmarks.group", "python -m tests.benchmarks.outputs"
QUANTIZERS, PLAN = "python -m tests.benchmarks.quantizers", "python -m tests.benchmarks.plan"
LARGE = "python -m tests.benchmarks.large"
OTHERS = (CHAOS, GROUP, OUTPUTS, QUANTIZERS, PLAN, LARGE)
"""What writes a section, in the order of the sections."""


def sections_in(path: Path) -> str:
    """With their marks; empty where there is none."""
    report = path.read_text(encoding="utf-8") if path.exists() else ""
    return "".join(_section(report, writer) for writer in OTHERS)


def replace_section(path: Path, text: str, writer: str = CHAOS) -> None:
    """In place of the one that is there, or at the end."""
    report = path.read_text(encoding="utf-8")
    begin, end = _marks(writer)
    before, found, rest = report.partition(begin)
    after = rest.partition(end)[2] if found else ""
    path.write_text(f"{before.rstrip()}\n\n{begin}\n{text}{end}\n{after}", encoding="utf-8")


def _marks(writer: str) -> tuple[str, str]:
    return f"<!-- {writer} -->", f"<!-- end of {writer} -->"


def _section(report: str, writer: str) -> str:
    begin, end = _marks(writer)
    _, found, rest = report.partition(begin)
    return f"\n{begin}{rest.partition(end)[0]}{end}\n" if found else ""
