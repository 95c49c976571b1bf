"""SIGKILL at twenty moments drawn by lot: the same command goes on, and the bundle is the one that nobody disturbed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

KILLS, SEED = 20, 20261129


def test_an_export_killed_at_any_moment_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.killed_exports", str(tmp_path), str(KILLS), str(SEED)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert found["code"] == 0
    assert len({moment for moment, *_ in found["codes"]}) == KILLS
    for moment, killed, resumed, left in found["codes"]:
        assert (killed, resumed, left) == (-signal.SIGKILL, 0, ["bundle"]), f"killed at {moment}"
    assert set(found["killed"]) == {found["undisturbed"]}
