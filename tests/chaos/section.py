"""The section of BENCHMARKS.md that `make chaos` writes, and `make bench` leaves as it is."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- make chaos -->", "<!-- end of make chaos -->"


def section_in(path: Path) -> str:
    """With its marks; empty where there is none."""
    report = path.read_text(encoding="utf-8") if path.exists() else ""
    _, begin, rest = report.partition(BEGIN)
    return f"\n{begin}{rest.partition(END)[0]}{END}\n" if begin else ""


def replace_section(path: Path, text: str) -> None:
    """In place of the one that is there, or at the end."""
    report = path.read_text(encoding="utf-8")
    before, begin, rest = report.partition(BEGIN)
    after = rest.partition(END)[2] if begin else ""
    path.write_text(f"{before.rstrip()}\n\n{BEGIN}\n{text}{END}\n{after.lstrip()}", encoding="utf-8")
