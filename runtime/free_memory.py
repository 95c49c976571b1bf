"""How much memory is free, to the machine and to the process's group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def free_bytes(root: Path = Path("/")) -> int | None:
    """Memory that the process may take yet, by what Linux says; None where it says nothing."""
    return min(_bounds(root), default=None)


def _bounds(root: Path) -> Iterator[int]:
    """What is available on the machine, and the limits of the process's group (a container's) and those above."""
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, group = line.split(":", 2)
        if number == "0":
            mount, name = "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = Path(group.lstrip("/"))
        for level in (inner, *inner.parents):
            limit = _read(root / mount / level / name)
            if limit.isdigit():
                yield int(limit)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
