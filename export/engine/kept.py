"""Engines of an earlier build that the next one takes over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lineside.runtime.bundle import file_sha256
from lineside.runtime.manifest import FileEntry


def take_over(files: Mapping[str, FileEntry], source: Path, target: Path) -> dict[str, FileEntry]:
    """Those of `files` that are whole in `source` are in `target` then, unless it has its own; returns them.

    They take no more room where the file system has links. Kernels that were compiled for them come along.
    """
    kept = {}
    for name, entry in files.items():
        file = source / name
        if not _is_whole(target / name if (target / name).exists() else file, entry):
            continue
        for part in (file, file.with_suffix(".kernels")):
            if part.is_file() and not (target / part.name).exists():
                _link(part, target / part.name)
        kept[name] = entry
    return kept


def _is_whole(file: Path, entry: FileEntry) -> bool:
    return file.is_file() and file.stat().st_size == entry.bytes and file_sha256(file) == entry.sha256


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        unfinished = target.with_suffix(".unfinished")
        shutil.copyfile(source, unfinished)
        unfinished.rename(target)
