"""Which weights of a broken-off export are complete."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path


class Journal:
    """A line for each finished weight, behind a first line that identifies the source.

    A journal of another source (or an unreadable one) is thrown away together with its folder.
    """

    def __init__(self, path: Path, stamp: str) -> None:
        self._path = path
        self.hashes: dict[str, str] = {}
        self.done_bytes = 0
        if not self._load(stamp):
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"stamp": stamp}) + "\n", encoding="utf-8")

    def _load(self, stamp: str) -> bool:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            if not lines or json.loads(lines[0]).get("stamp") != stamp:
                return False
        except (OSError, ValueError):
            return False
        for line in lines[1:]:
            try:
                entry = json.loads(line)
            except ValueError:  # the last line of a run that was cut off
                break
            self.hashes[entry["weight"]] = entry["sha256"]
            self.done_bytes += entry["bytes"]
        return True

    def __contains__(self, weight: str) -> bool:
        return weight in self.hashes

    def add(self, weight: str, sha256: str, size: int) -> None:
        self.hashes[weight] = sha256
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"weight": weight, "sha256": sha256, "bytes": size}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        self._path.unlink()
