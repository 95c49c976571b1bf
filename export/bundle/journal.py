"""Which weights of a broken-off export are complete, and of what export."""

from __future__ import annotations

import json
import os
from pathlib import Path

STAMP = "lineside_export"
"""The key of a journal's first line, by which it is known."""


class Journal:
    """A line for each finished weight, behind a first line with the export's stamp.

    Attributes:
        hashes: SHA-256 of the values read, by weight.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stamp = ""
        self.hashes: dict[str, str] = {}
        lines = _lines(path)
        if lines and STAMP in lines[0]:
            self.stamp = str(lines[0][STAMP])
            self.hashes = {str(line["weight"]): str(line["sha256"]) for line in lines[1:]}

    def start(self, stamp: str) -> None:
        """Begin anew. The file is there with its first line, or not at all."""
        new = self._path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps({STAMP: stamp}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self.stamp, self.hashes = stamp, {}

    def __contains__(self, weight: str) -> bool:
        return weight in self.hashes

    def add(self, weight: str, sha256: str) -> None:
        """For a weight that is on the disk."""
        self.hashes[weight] = sha256
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"weight": weight, "sha256": sha256}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _lines(path: Path) -> list[dict[str, object]]:
    """Those that are whole: the last one of a run that was cut off may not be."""
    found: list[dict[str, object]] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            found.append(dict(json.loads(line)))
    except (OSError, ValueError, TypeError):
        pass
    return found
