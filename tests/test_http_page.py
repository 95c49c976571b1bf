"""What docs/http.md shows is run as it stands there, on another port."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from lineside.runtime.engine.engine import Engine
from tests.conftest import ROOT
from tests.support.served import one_model, served

BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def test_the_page_runs(default_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/http.md").read_text()
    with served(one_model(default_engine), tmp_path, key="") as station:
        text = page.replace("http://127.0.0.1:8484", station.url)
        (curl,), (program,), (printed,) = (
            [block for language, block in BLOCK.findall(text) if language == wanted] for wanted in ("sh", "python", "")
        )
        exec(program, {})
        assert capsys.readouterr().out == printed
        given = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True)
        (call,) = json.loads(given.stdout)["choices"][0]["message"]["tool_calls"]
        assert f"{call['function']['name']} {call['function']['arguments']}\n" == printed
