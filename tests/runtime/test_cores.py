"""As many threads as the process may use: by its affinity, and by the quotas of its control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineside.runtime.cores import usable_cores
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.conftest import ROOT
from tests.support.station import LINESIDE

THERE = len(os.sched_getaffinity(0))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 cores, whatever this one has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 16),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "9900000 100000"}, 16),
        # The nearer group has no limit, the one above it has.
        (
            {
                "proc/self/cgroup": "0::/line.slice/lineside.service",
                "sys/fs/cgroup/line.slice/lineside.service/cpu.max": "max 100000",
                "sys/fs/cgroup/line.slice/cpu.max": "300000 100000",
            },
            3,
        ),
        # Version 1 in a container, which sees the host's name of its group but not the group.
        (
            {
                "proc/self/cgroup": "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n0::/docker/1f",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            16,
        ),
        ({"proc/self/cgroup": "nonsense\n0::/", "sys/fs/cgroup/cpu.max": "a b"}, 16),
    ],
)
def test_a_quota_bounds_the_threads(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    assert usable_cores(write(tmp_path, files)) == cores


@pytest.mark.skipif(THERE < 2, reason="one core alone")
def test_a_process_on_one_core_has_one_thread() -> None:
    """What the engine, OpenCV and `lineside devices` take there, with `taskset`."""
    core = str(min(os.sched_getaffinity(0)))
    program = (
        "import cv2, lineside; from lineside.runtime.sessions.ort import session_options;"
        "lineside.Engine.open(lineside.DEFAULT_BUNDLE); "
        "print(session_options(0).intra_op_num_threads, cv2.getNumThreads())"
    )
    for command, said in (
        ([sys.executable, "-c", program], "1 1"),
        ([*LINESIDE, "devices", str(DEFAULT_BUNDLE)], f", 1 of {os.cpu_count()} cores, "),
    ):
        found = subprocess.run(["taskset", "-c", core, *command], capture_output=True, text=True, cwd=ROOT, check=True)
        assert said in found.stdout


def test_opencv_takes_no_more_threads_than_the_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    from lineside.runtime.engine import engine

    monkeypatch.setattr(engine, "usable_cores", lambda: 3)
    before = cv2.getNumThreads()
    try:
        engine.Engine.open(DEFAULT_BUNDLE, threads=1)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
