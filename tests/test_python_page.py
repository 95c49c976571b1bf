"""What docs/python.md shows is run as it stands there, and prints what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", re.DOTALL)


def test_the_page_runs(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(pictures[0], tmp_path / "part.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = BLOCK.findall((ROOT / "docs/python.md").read_text())
    assert len(blocks) >= 4
    for number, (program, printed) in enumerate(blocks):
        exec(program, names)
        said = capsys.readouterr().out
        if number == 0:  # the figures are of another picture
            assert re.match(r"(pass|fail|unsure) [01]\.\d+ \(", said)
        elif printed:
            assert said == printed
