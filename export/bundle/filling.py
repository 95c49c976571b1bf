"""Filling the weight files of a bundle, one weight at a time, each on the disk before the next begins."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lineside.export.bundle.plan import Planned
from lineside.export.bundle.workplace import Workplace
from lineside.export.graph.weights import Weight, fill
from lineside.export.quantize.rounder import HQQ, Rounder

Float32 = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called with the weight's name, bytes done and bytes in all."""


class Filling:
    """The weight files of `planned` in `place`, open; what an earlier try has finished stays as it is."""

    def __init__(self, planned: Planned, place: Workplace, progress: Progress | None) -> None:
        self._planned, self._place, self._progress = planned, place, progress
        self._files: dict[str, BinaryIO] = {}
        self._open = ExitStack()
        self._counted: set[str] = set()
        self._done_bytes = 0

    def __enter__(self) -> Filling:
        with ExitStack() as opened:
            for name, layout in self._planned.files.items():
                path = self._place.folder / layout.file_name
                _reserve(path, layout.size_bytes)
                self._files[name] = file = opened.enter_context(path.open("r+b"))
                for slot, compute in layout.tables.values():
                    file.seek(slot.offset)
                    file.write(compute().astype(slot.dtype).tobytes())
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def matrices(self, file: str, name: str) -> Iterator[Weight]:
        """Of the matrix `name`, or of the parts in which it lies."""
        for weight in self._planned.files[file].weights.values():
            part = weight.name.removeprefix(f"{name}.")
            if weight.name == name or part.isdigit():
                yield weight

    def finished(self, file: str, weight: str) -> bool:
        return f"{file}/{weight}" in self._place.journal

    def read(self, file: str, weight: Weight) -> Float32:
        """A vector that is finished."""
        slot = weight.slots[0]
        self._files[file].seek(slot.offset)
        return np.frombuffer(self._files[file].read(slot.nbytes), np.float32)

    def fill(self, name: str, weight: Weight, rounder: Rounder | None = None, divisor: Float32 | None = None) -> None:
        """Write a weight of the file `name`, if it is not there.

        Args:
            rounder: for a matrix that is fitted to its inputs.
            divisor: for a vector, which is divided by it.
        """
        key = f"{name}/{weight.name}"
        if key not in self._place.journal:
            file = self._files[name]
            if weight.zeros and self._planned.precisions.method == "hqq":
                rounder = HQQ
            sha256 = fill(weight, self._planned.checkpoint, file, rounder, divisor)
            file.flush()
            os.fsync(file.fileno())
            self._place.journal.add(key, sha256)
        if key not in self._counted:
            self._counted.add(key)
            self._done_bytes += sum(slot.nbytes for slot in weight.slots)
            self.report(weight.name)

    def report(self, name: str) -> None:
        """What is being worked on."""
        if self._progress:
            self._progress(name, self._done_bytes, self._planned.size_bytes)

    def fill_rest(self) -> str:
        """Whatever is not there yet; returns a hash over all source tensors."""
        for name, layout in self._planned.files.items():
            for weight in layout.weights.values():
                self.fill(name, weight)
        return hashlib.sha256(json.dumps(sorted(self._place.journal.hashes.items())).encode()).hexdigest()


def _reserve(path: Path, size: int) -> None:
    """Take the room on the disk before the work, so that the weights cannot fill it half-way."""
    with path.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of a file system that has no such thing
                raise
            os.truncate(file.fileno(), size)
