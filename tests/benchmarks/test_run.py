"""A benchmark that is broken off keeps its rows, and goes on with those that are missing or stale."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.export.evaluation.publish import BEGIN, END
from tests.benchmarks import own, run
from tests.benchmarks.models import PEERS, Engines
from tests.benchmarks.report import write_report
from tests.benchmarks.results import Results, Stamp, code_digest
from tests.benchmarks.rows import FIGURES, ROWS, Row, selected

SAME: Stamp = {"cpu": "quick", "threads": 2, "versions": {"python": "3"}, "model": "abc", "code": "123"}
FIGURE = {"title": "prefill 128", "unit": "tokens/s", "better": "higher", "values": [200.0, 100.0, 50.0, 80.0]}
ENDINGS = {"reasons": {"unreadable": 1, "stop": 2}, "longest": 9, "budget": 16, "prompts": 3}


class Bench:
    """Four small rows; notes which of them were measured, and may be told to fail at one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.measured = folder, list[str]()
        self.fails: dict[str, BaseException] = {}
        self.stamps = dict.fromkeys(("prefill-128", "prefill-512", "endings-default", "passes"), SAME)

    def row(self, name: str) -> Row:
        def take(_engines: Engines) -> Any:
            self.measured.append(name)
            if name in self.fails:
                raise self.fails[name]
            return ENDINGS if name.startswith("endings") else [] if name == "passes" else FIGURE

        return Row(name, take)

    def __call__(self, *, again: tuple[str, ...] = ()) -> tuple[list[str], list[str], Path]:
        """What a process of its own would do: rows measured, rows that failed, and the report."""
        self.measured = []
        results = Results(self.folder / "rows.json")
        rows = [self.row(name) for name in again or self.stamps]
        try:
            failed = run.measure(rows, self.stamps, results, Engines(1), again=bool(again))
        finally:
            path = run.report(self.stamps, results, self.folder / "whole.md", self.folder / "partial.md")
        return self.measured, failed, path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_run_that_was_broken_off_goes_on(bench: Bench) -> None:
    bench.fails = {"endings-default": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        bench()
    assert bench.measured == ["prefill-128", "prefill-512", "endings-default"]
    assert not (bench.folder / "whole.md").exists()
    partial = (bench.folder / "partial.md").read_text()
    assert "Missing or stale, and not shown: endings-default, passes." in partial
    assert "| prefill 128, tokens/s | 200 | 100 | 50 | 80 | 2.50 | 1.25 | 1.2 |" in partial
    bench.fails = {}
    assert bench() == (["endings-default", "passes"], [], bench.folder / "whole.md")
    assert "Missing" not in (bench.folder / "whole.md").read_text().partition("Each row")[2]
    assert bench()[0] == [], "everything counts"


@pytest.mark.parametrize("key", list(SAME))
def test_a_stale_row_is_measured_anew_and_not_shown_before(bench: Bench, key: str) -> None:
    bench()
    bench.stamps["passes"] = {**SAME, key: {"python": "4"} if key == "versions" else "another"}
    results = Results(bench.folder / "rows.json")
    assert run.report(bench.stamps, results, bench.folder / "w.md", bench.folder / "p.md") == bench.folder / "p.md"
    assert "not shown: passes." in (bench.folder / "p.md").read_text()
    assert bench()[0] == ["passes"]
    assert bench()[0] == []


def test_rows_that_are_named_are_measured_anew_and_the_others_left(bench: Bench) -> None:
    bench()
    bench.stamps["prefill-128"] = {**SAME, "code": "another"}
    measured, _, path = bench(again=("passes",))
    assert (measured, path.name) == (["passes"], "partial.md")
    assert "not shown: prefill-128." in path.read_text()


def test_a_row_that_fails_does_not_end_the_others(bench: Bench) -> None:
    bench.fails = {"prefill-512": ModuleNotFoundError("No module named 'llama_cpp'")}
    measured, failed, path = bench()
    assert (measured, failed, path.name) == (list(bench.stamps), ["prefill-512"], "partial.md")
    bench.fails = {}
    assert bench()[0] == ["prefill-512"]


def test_a_process_that_is_killed_while_it_writes_leaves_the_rows_of_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench()
    before = (bench.folder / "rows.json").read_text()

    def killed(_self: Path, text: str, **_options: object) -> int:
        with Path(_self).open("w") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        Results(bench.folder / "rows.json").put("passes", SAME, [1])
    assert (bench.folder / "rows.json").read_text() == before


def test_the_table_of_endings_has_a_column_for_each_reason_that_there_is(bench: Bench) -> None:
    text = bench()[2].read_text()
    assert "| model | prompts | stop | unreadable | longest answer | budget |" in text
    assert "| default model | 3 | 2 | 1 | 9 | 16 |" in text


def test_what_make_evaluate_wrote_stays(bench: Bench) -> None:
    section = f"{BEGIN}\n## Commands\n{END}\n"
    (bench.folder / "whole.md").write_text(f"old\n{section}")
    _, _, path = bench()
    text = path.read_text()
    assert text.startswith("# Benchmarks")
    assert text.endswith(f"\n\n{section}")
    assert "old" not in text


def test_names_and_groups() -> None:
    names: Callable[..., list[str]] = lambda *given: [row.name for row in selected(ROWS, given)]  # noqa: E731
    assert names("prefill") == ["prefill-128", "prefill-512", "prefill-2048"]
    assert names("endings-default", "prefill-512") == ["prefill-512", "endings-default"]
    assert len({row.name for row in ROWS}) == len(ROWS) == len(names(*(row.name for row in ROWS)))
    assert all(names(row.name) == [row.name] for row in ROWS), "each can be measured alone"
    assert len(FIGURES) == 14
    with pytest.raises(ValueError, match=r"no row is called 'pref': there are prefill-128, "):
        names("pref")


def test_the_code_that_counts(tmp_path: Path) -> None:
    """Lineside's and the benchmark's, but not what cannot change a figure."""
    benchmark = (
        f"tests/benchmarks/{name}.py" for name in ("report", "own", "floats", "genai_model", "models", "smollm")
    )
    for name in ("runtime/a.py", "export/graph/b.py", "export/default_model/c.py", *benchmark):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    seen = {code_digest(root=tmp_path)}
    for name, counts in (("runtime/a.py", True), ("export/graph/b.py", True), ("tests/benchmarks/own.py", True),
                         ("export/default_model/c.py", False), ("tests/benchmarks/report.py", False)):  # fmt: skip
        (tmp_path / name).write_text("2")
        digest = code_digest(root=tmp_path)
        assert (digest not in seen) is counts, name
        seen.add(digest)
    assert code_digest() == code_digest()


def test_the_command_measures_a_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default model's answers, fewer of them: with the real engine, but without the peers and their packages."""
    monkeypatch.setattr(own, "PROMPTS", 4)
    monkeypatch.setattr(sys, "argv", ["run", "--rows", "endings-default"])
    for name, path in (("FOLDER", tmp_path), ("PARTIAL", tmp_path / "partial.md"), ("REPORT", tmp_path / "whole.md")):
        monkeypatch.setattr(run, name, path)
    assert run.main() == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text()).values()
    assert sum(row["value"]["reasons"].values()) == 4
    assert row["stamp"]["threads"] > 0
    assert "unreadable" not in row["value"]["reasons"]
    assert not (tmp_path / "whole.md").exists()
    assert "| default model | 4 |" in (tmp_path / "partial.md").read_text()


def test_a_name_that_there_is_not_is_said_in_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.run", "--rows", "nonsense"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no row is called 'nonsense'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_peers_have_their_columns(bench: Bench) -> None:
    assert "| | " + " | ".join(PEERS) + " | ratio | int8 |" in bench()[2].read_text()


def test_a_start_is_held_against_the_slower_peer(tmp_path: Path) -> None:
    row = {"title": "start to first token", "unit": "s", "better": "lower", "values": [0.5, 0.8, 0.2, 0.4]}
    write_report({"cpu": "quick", "threads": 2, "versions": {}}, {"start": row}, [], tmp_path / "r.md")
    assert "| start to first token, s | 0.5 | 0.8 | 0.2 | 0.4 | 0.80 | 0.50 | 1 |" in (tmp_path / "r.md").read_text()
