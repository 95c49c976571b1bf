"""Three commands write into one report, and none takes away what another has written."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.report import write_report
from tests.chaos.section import CHAOS, GROUP, replace_section, sections_in

MACHINE = {"cpu": "a", "threads": 2, "versions": {}}


def test_each_writes_its_own_part(tmp_path: Path) -> None:
    report = tmp_path / "BENCHMARKS.md"
    report.write_text("# Benchmarks\n")
    for writer, title in ((CHAOS, "Chaos"), (GROUP, "A group")):
        replace_section(report, f"## {title}\n\nfirst\n", writer)
        replace_section(report, f"## {title}\n\nsecond\n", writer)
    write_report(MACHINE, {}, ["a row"], report)
    text = report.read_text()
    counts = text.count("## Chaos"), text.count("## A group"), text.count("\nfirst\n"), text.count("\nsecond\n")
    assert counts == (1, 1, 0, 2)
    assert text.endswith(sections_in(report))
    assert "a row" in text
    replace_section(report, "## Chaos\n\nthird\n")
    text = report.read_text()
    assert "a row" in text
    assert (text.count("\nsecond\n"), text.count("\nthird\n")) == (1, 1)
