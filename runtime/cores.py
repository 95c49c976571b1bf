"""How many threads a process may usefully have."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_2 = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
CGROUP_1 = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")
"""Where Linux shows the groups' limits, the second where both versions are mounted."""


def usable_cores(root: Path = Path("/")) -> int:
    """Those that the process may run on (`taskset`), or fewer where a container has a share of their time (a cgroup's
    CPU quota, rounded up). More threads than these wait for one another: a pass takes ten times as long.

    Args:
        root: of the file system that `/proc` and `/sys` are looked up in.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Of the process's groups and all groups above them, in cores. A container may not see those above."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            mounts, limit = CGROUP_2, _limit_2
        elif "cpu" in controllers.split(","):
            mounts, limit = CGROUP_1, _limit_1
        else:
            continue
        for mount in mounts:
            inner = Path(group.lstrip("/"))
            for level in (inner, *inner.parents):
                yield from limit(root / mount / level)


def _limit_2(group: Path) -> Iterator[float]:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    yield from _share(quota, period)


def _limit_1(group: Path) -> Iterator[float]:
    yield from _share(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _share(quota: str, period: str) -> Iterator[float]:
    """None for `max` or -1, which is no limit."""
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
