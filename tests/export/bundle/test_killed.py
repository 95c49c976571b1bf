"""SIGKILL at moments drawn by lot in each module that writes: the same command goes on, and the bundle is the one that
nobody disturbed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

MODULES = {"journal.py", "stamp.py", "weights.py", "workplace.py", "writer.py"}
KILLS, SEED = 2, 20261129


def test_an_export_killed_at_any_moment_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.killed_exports", str(tmp_path), str(KILLS), str(SEED)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert len(found["killed"]) == KILLS * len(MODULES)
    assert {module for module, *_ in found["killed"]} == MODULES
    for module, function, killed, resumed, left, sha256 in found["killed"]:
        said = f"killed in {function} of {module}"
        assert (killed, resumed, left) == (-signal.SIGKILL, 0, ["bundle"]), said
        assert sha256 == found["undisturbed"], said
