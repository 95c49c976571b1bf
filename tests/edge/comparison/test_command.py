"""`lineside compare` as a user runs it: processes of their own, exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from lineside.edge.comparison.process import side_process
from lineside.edge.comparison.side import Side
from lineside.edge.errors import EdgeError
from lineside.runtime.inspection.task import InspectionTask
from tests.support.bundles import damaged
from tests.support.small import small_picture
from tests.support.station import LINESIDE
from tests.support.wait import LIMIT_S, until

TASK = InspectionTask(("pitting",))


@pytest.fixture
def arguments(tmp_path: Path, float_bundle: Path, random_bundle: Path) -> list[str]:
    (tmp_path / "text.txt").write_text("The lamp is green. " * 10)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/part.jpg").write_bytes(small_picture())
    made = ["--text", str(tmp_path / "text.txt"), "--pictures", str(tmp_path / "pictures"), "--device", "cpu"]
    return [*LINESIDE, "compare", str(float_bundle), str(random_bundle), *made]


def test_json(arguments: list[str]) -> None:
    core = min(os.sched_getaffinity(0))  # threads on busy cores would wait for one another
    command = ["taskset", "-c", str(core), *arguments, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["text"]["kl"] > 0
    assert told["a"]["disk_bytes"] > told["b"]["disk_bytes"]
    assert told["pictures"]["pictures"] == 1


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_ended_early(arguments: list[str], tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """Whatever it is at: the process of the model ends with it."""
    (tmp_path / "text.txt").write_text("The lamp is green. " * 50_000)
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: process.poll() is not None or len(children.read_text().split()) >= 2)  # one tracks resources
    started = [int(pid) for pid in children.read_text().split()]
    process.send_signal(sent)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == code
    if sent == signal.SIGINT:
        assert errors == "lineside: interrupted\n"
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_what_goes_wrong_there_is_said_here(float_bundle: Path, tmp_path: Path) -> None:
    broken = damaged(float_bundle, tmp_path / "broken")
    (tmp_path / "part.jpg").write_text("no picture")
    with side_process("B") as side:
        with pytest.raises(EdgeError, match=r"B: .*decoder\.data is damaged"):
            side.open(broken, "cpu", 64, TASK)
        side.open(float_bundle, "cpu", 64, TASK)
        with pytest.raises(EdgeError, match=r"B: .*part\.jpg"):
            side.call(Side.look, tmp_path / "part.jpg")


def test_a_process_that_is_killed_is_said() -> None:
    with pytest.raises(EdgeError, match=r"A: its process was ended from outside.*memory"), side_process("A") as side:
        side._result(os.kill, side._result(os.getpid), signal.SIGKILL)
