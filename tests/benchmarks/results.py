"""Rows of the benchmark as they come, in a file that is there after each.

A row counts as long as what it was measured with is what there would be now: processor, threads, versions of Python and
of the packages that it needs, the model, and the code of Lineside and of the benchmark. Otherwise it is stale: it is
measured anew, and never shown beside others.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
EXPORTING = ("export", *(f"tests/benchmarks/{name}.py" for name in ("floats", "genai_model", "models", "smollm")))
"""What the models are made by."""
MEASURED = ("runtime", "tests/benchmarks", *EXPORTING)
UNMEASURED = ("export/default_model", "export/evaluation", "tests/benchmarks/report.py", "tests/benchmarks/gpu.py",
              "tests/benchmarks/group.py", "tests/benchmarks/large",
              "tests/benchmarks/test_")  # fmt: skip
Stamp = Mapping[str, Any]


class Results:
    """The rows that were measured so far, by name; `path` is read at once, and replaced as a whole with each row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def put(self, name: str, stamp: Stamp, value: Any) -> None:
        """Keep a row's value, which JSON can hold."""
        self._rows[name] = {"stamp": dict(stamp), "value": value}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._rows, indent=2), encoding="utf-8")
        os.replace(partial, self._path)

    def changed(self, name: str, stamp: Stamp) -> list[str] | None:
        """What is another now than when the row was measured: empty where it counts; None where it never was."""
        if name not in self._rows:
            return None
        old, new = self._rows[name]["stamp"], json.loads(json.dumps(dict(stamp)))
        return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))

    def value(self, name: str) -> Any:
        """Raises KeyError where the row was never measured."""
        return self._rows[name]["value"]


def processor() -> str:
    """The name of this machine's processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each; `missing` where there is none."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def code_digest(parts: Iterable[str] = MEASURED, root: Path = ROOT) -> str:
    """SHA-256 over the Python files in these folders, and these files, below `root`; without `UNMEASURED`."""
    digest = hashlib.sha256()
    files: set[Path] = set()
    for path in (root / part for part in parts):
        files |= set(path.rglob("*.py")) if path.is_dir() else {path}
    for file in sorted(files):
        name = file.relative_to(root).as_posix()
        if not name.startswith(UNMEASURED):
            digest.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
