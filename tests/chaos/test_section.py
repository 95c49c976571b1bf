"""Two commands write into one report, and neither takes away what the other has written."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.report import write_report
from tests.chaos.section import replace_section, section_in

MACHINE = {"cpu": "a", "threads": 2, "versions": {}}


def test_each_writes_its_own_part(tmp_path: Path) -> None:
    report = tmp_path / "BENCHMARKS.md"
    report.write_text("# Benchmarks\n")
    replace_section(report, "## Chaos\n\nfirst\n")
    replace_section(report, "## Chaos\n\nsecond\n")
    write_report(MACHINE, {}, ["a row"], report)
    text = report.read_text()
    assert (text.count("## Chaos"), "first" in text, "second" in text) == (1, False, True)
    assert text.endswith(section_in(report))
    assert "a row" in text
    replace_section(report, "## Chaos\n\nthird\n")
    assert "a row" in report.read_text()
