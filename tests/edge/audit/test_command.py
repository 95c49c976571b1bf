"""`lineside audit verify`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.edge.audit.files import files_in
from lineside.edge.command_line.main import main
from tests.edge.audit.test_log import LINES, lines_of, written


def test_what_it_says_and_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    station = tmp_path / "station.toml"
    station.write_text('[station]\nname = "press4"\n')
    command = ["audit", "verify", "-c", str(station)]
    folder = tmp_path / "lineside.audit"
    assert main(command) == 1
    assert capsys.readouterr().err == f"lineside: {folder}: there is no audit log\n"
    written(folder)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"ok: {LINES} lines, 1 (2026-11-29T06:00:00.000Z) to {LINES} (2026-11-29T06:00:00.000Z); ")
    (path,) = files_in(folder)
    path.write_bytes(path.read_bytes().replace(b"c5", b"c6"))
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(f"lineside: {path}:5: its hash is not that of its content")
    path.write_bytes(b"".join(lines_of(path)[:0]))
    assert main(command) == 1
