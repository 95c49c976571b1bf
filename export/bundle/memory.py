"""How much memory an export takes, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lineside.export.bundle.pieces import PIECE_BYTES
from lineside.export.bundle.plan import Planned
from lineside.export.errors import MemoryTooSmall

PROCESS_BYTES = 800_000_000
"""Libraries, the slices of a tensor on their way, and the self-test's caches."""
LOADED = 3.0
"""A piece in memory against its weights: as they are read, as ONNX Runtime packs them, and in between. A 24B took 4.0
GB."""


def needed_bytes(planned: Planned) -> int:
    """The most that an export takes at a time: when its self-test runs the largest piece of a graph."""
    largest = max(slot.nbytes for file in planned.files.values() for w in file.weights.values() for slot in w.slots)
    weights = max(file.size_bytes for file in planned.files.values())
    return PROCESS_BYTES + int(LOADED * min(weights, max(PIECE_BYTES, largest)))


def check_memory(planned: Planned, root: Path = Path("/")) -> None:
    """Raises MemoryTooSmall where less is free, to the machine or to the process's group."""
    needed, free = needed_bytes(planned), free_bytes(root)
    if free is not None and free < needed:
        sizes = f"{free / 1e9:.2f} GB of memory are free, the export takes up to {needed / 1e9:.2f} GB"
        raise MemoryTooSmall(f"{sizes}: stop other programs, or export on another machine and copy the bundle")


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
